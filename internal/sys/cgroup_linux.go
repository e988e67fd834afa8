package sys

import "os"

// CgroupLimit returns the bytes of memory that the process' cgroups allow, the smallest limit of
// all levels and versions that can be seen from here, 0 for no limit. Each call reads about ten
// small files.
//
// Errors: a file could not be read or makes no sense; the limit is then the smallest of the others.
func CgroupLimit() (bytes uint64, err error) {
	if err := CallCgroupLimit.injected(); err != nil {
		return 0, err
	}
	n, err := cgroupLimit(os.DirFS("/"))
	return n, CallCgroupLimit.wrap(err)
}
