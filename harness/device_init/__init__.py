"""`proofrig device init`: a first device file and rig file, from what an engineer answers and allows to be scanned."""
