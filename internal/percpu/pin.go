package percpu

import _ "unsafe" // for go:linkname

// hintP returns a CPU number that belongs to the caller's P. It keeps goroutines apart
// when GOMAXPROCS is not above the number of CPUs.
func hintP() int {
	p := procPin()
	procUnpin()
	return p % NumCPU()
}

// procPin keeps the goroutine on its P, unpreempted, until procUnpin, and returns
// the P's number. The runtime keeps both reachable for packages that depend on
// them (see "hall of shame" in runtime/proc.go); nothing may block in between.
//
//go:linkname procPin runtime.procPin
func procPin() int

//go:linkname procUnpin runtime.procUnpin
func procUnpin()
