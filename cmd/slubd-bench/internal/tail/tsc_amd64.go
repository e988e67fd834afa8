package tail

const hasTSC = true

// readTSC reads the time-stamp counter, between two fences.
func readTSC() int64
