"""What licensing systems must keep, one file a family, and the judge that puts them together.

Every checker reads a recorded story and the target's stated numbers, and
nothing else: a live run, a stored history and a load run meet the same ones.
"""
