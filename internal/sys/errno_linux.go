package sys

import "golang.org/x/sys/unix"

// errno turns a system call's result into an error that names the call.
func (c Call) errno(e unix.Errno) error {
	if e == 0 {
		return nil
	}
	return c.wrap(e)
}
