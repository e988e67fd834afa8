package sys

import "golang.org/x/sys/unix"

// errno makes an error that names the call from the errno that the call returned, nil from 0.
func (c Call) errno(e unix.Errno) error {
	if e == 0 {
		return nil
	}
	return c.wrap(e)
}
