"""Published systems, a module each, behind the protocol of `wfdm.generators.protocol`.

Each is written from its paper and from facts about its files (names and shapes of weights,
conventions, schedule, sampler), and holds no line of its authors' code. Its parameters carry the
published names, so that it loads the file that its authors give; `files` reads that, `grid` brings
its volumes to the study's grid.
"""
