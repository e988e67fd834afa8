package sys

import "os"

// ReadRSS returns the bytes of anonymous memory that the process has in RAM, Go heap included. The
// kernel walks the page tables, which takes milliseconds per GiB.
func ReadRSS() (anonBytes uint64, err error) {
	if err := CallReadRSS.injected(); err != nil {
		return 0, err
	}
	n, err := anonymous(os.DirFS("/proc/self"))
	return n, CallReadRSS.wrap(err)
}
