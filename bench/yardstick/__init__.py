"""The yardstick: contenders, cases, measures, and what is told of them. `bench/run` is its door.

processes    starting, pinning, the kernel's account of CPU and memory
machine      what this machine is, and how far a run has come
credentials  keys, tokens and rows made here, where thousands of people would take too long to register
rig          the folder of a run: upstream, certificate, callers
contenders   each proxy, as its own documentation would have it
loads        the three load generators, and what they report
cases        who is measured at what
rounds       interleaved and shuffled rounds, and what is made of them
cuts         everything that is no proxy beside another: cold, memory, refusals, storms, reloads, growth
streams      chunks of event streams, and their first bytes: a short form as a cut, the long one for bench/streams
ratios       the eight numbers the project is judged by
tables       results.json as tables
report       results.json as a page, and the block of README
charts       results.json as pictures
aside        for the other harnesses of this folder
"""
