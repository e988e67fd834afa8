package percpu

import _ "unsafe" // for go:linkname

// procPin keeps the goroutine on its P, unpreempted, until procUnpin, and returns
// the P's number. The runtime keeps both reachable for packages that depend on
// them (see "hall of shame" in runtime/proc.go); nothing may block in between.
//
//go:linkname procPin runtime.procPin
func procPin() int

//go:linkname procUnpin runtime.procUnpin
func procUnpin()
