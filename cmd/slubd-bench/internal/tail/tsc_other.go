//go:build !amd64

package tail

const hasTSC = false

func readTSC() int64 { panic("no time-stamp counter") }
