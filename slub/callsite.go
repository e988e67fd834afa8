package slub

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"runtime"
	"slices"
)

// A CallSite is a line of the program that allocates from caches or Buckets with CallSites.
type CallSite struct {
	Function, File string
	Line           int
	Objects, Bytes int64  // in use now: exact, in bytes of slots and of large objects' pages
	Allocs         uint64 // allocations ever
}

// CallSites returns the call sites of all caches and Buckets with CallSites in which something has
// been allocated, those with most bytes in use first. An object is in the sum from its allocation
// until its destructor has returned, and not when its Free hook is called. What an Account
// allocates is not in it. Any goroutine. It costs a look-up of names for each site. (Kernel:
// /proc/allocinfo.)
func CallSites() (list []CallSite) {
	for _, s := range sites.all() {
		frame, _ := runtime.CallersFrames([]uintptr{s.pc}).Next()
		list = append(list, CallSite{Function: frame.Function, File: frame.File, Line: frame.Line,
			Objects: s.objects.Load(), Bytes: s.bytes.Load(), Allocs: s.allocs.Load()})
	}
	slices.SortFunc(list, func(a, b CallSite) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return list
}

// WriteCallSites writes CallSites as text, in the form of the kernel's /proc/allocinfo: a header,
// then for each site its bytes and objects in use, the line, and the function. Tools that read that
// file read this one. Any goroutine. Errors: those of w.
func WriteCallSites(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprint(out, "allocinfo - version: 1.0\n#     <size>  <calls> <tag info>\n")
	for _, s := range CallSites() {
		fmt.Fprintf(out, "%12d %8d %s:%d func:%s\n", s.Bytes, s.Objects, s.File, s.Line, s.Function)
	}
	return out.Flush()
}
