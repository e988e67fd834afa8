//go:build !amd64

package percpu

// hint returns the caller's P, which keeps goroutines apart when GOMAXPROCS is
// not above the number of CPUs.
func hint() int {
	p := procPin()
	procUnpin()
	return p % NumCPU()
}
