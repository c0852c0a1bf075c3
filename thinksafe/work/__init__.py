"""The work of one stage on one set of chunks, shared by as many workers as ``parallelism`` says.

A stage places an order in the store. Workers (pods of an Indexed Job, or processes of this machine) take chunks from it
until none is left. The stage then collects what they made. With one worker the stage does the work itself.
"""
