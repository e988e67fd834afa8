//go:build !amd64

package percpu

func hint() int { return hintP() }

// knowsCPU reports whether hint is exact.
func knowsCPU() bool { return false }
