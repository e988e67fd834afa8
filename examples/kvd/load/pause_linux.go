package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// pause sleeps on the calling thread. A signal of the runtime's may end it early, which sends a
// request too early by as much; so it goes on with what is left.
func pause(d time.Duration) {
	left := unix.NsecToTimespec(d.Nanoseconds())
	for unix.Nanosleep(&left, &left) == unix.EINTR {
	}
}
