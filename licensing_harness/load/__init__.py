"""Load: Locust users who check in, recorded and judged like any other client.

Importing Locust patches the whole process for gevent, so only ``python -m
licensing_harness.load`` does it. Everybody else starts that process through
``licensing_harness.generate.loadrun``.

======================  ==============================================================
``__main__``            the command line, and the exit code
``run``                 one run: Locust's environment around a profile; the report
``checkin``             the profile: what a customer's devices do
``lane``                one client: an adapter object, its calls recorded one by one
``blocking``            ``target.http`` over a blocking socket, for ``async def`` verbs
``plan``                what a run is asked to do
``measures``            samples, percentiles and thresholds
======================  ==============================================================
"""
