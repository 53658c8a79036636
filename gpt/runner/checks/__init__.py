"""Before training: is the study controlled? After it: are the files whole? And are gradient norms right?"""
