"""What acts: the engine, its supervisors and task actors, the store actor, the scheduler, the feed. All of it on trio.

Actors are async functions with an inbox. They carry out what `core` decides and tell it what came of it.
"""
