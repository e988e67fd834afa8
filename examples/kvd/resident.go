package main

import (
	"fmt"
	"os"
)

// resident returns the bytes of the process that are in memory, as ps shows them; 0 where the
// system doesn't say.
func resident() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
