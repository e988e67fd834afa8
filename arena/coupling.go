package arena

import (
	"fmt"
	"math"
	"slices"

	"github.com/slubd/slubd/internal/sys"
)

// Coupling says how CoupleGoMemLimit divides the process' memory between
// arenas and the Go runtime. All sizes are bytes.
type Coupling struct {
	// Total is what the process may have. 0: the limit of its cgroups or, if
	// they have none, the machine's memory.
	Total uint64
	// Reserve is what of Total goes to neither: C, page tables, page maps, page
	// cache, and the 1/64 by which arenas may run ahead of an adjustment. 0: a
	// tenth of Total. 1: next to none.
	Reserve uint64
	// Floor is what Go always keeps, however much the arenas hold: below what
	// is live on its heap the collector would run all the time and free
	// nothing. 0: an eighth of Total - Reserve, or of the program's own limit if
	// that is less.
	Floor uint64
}

// CgroupLimit returns the bytes of memory that the process' cgroups allow, 0
// for no limit: the smallest of all levels, versions 1 and 2, that can be seen
// from here. It reads about ten files each time. Any goroutine may call it.
//
// Errors: what could not be read, beside the smallest limit of the others;
// outside Linux errors.ErrUnsupported.
func CgroupLimit() (bytes uint64, err error) { return sys.CgroupLimit() }

// CoupleGoMemLimit keeps the runtime's soft memory limit (GOMEMLIMIT,
// debug.SetMemoryLimit) at Total - Reserve less what the arenas may have
// resident, so that Go's heap and the arenas together stay within Total. The
// runtime doesn't count the arenas' memory, and would fill all of its limit
// beside them.
//
// A limit of the program's own, the one at the call or one it has set since,
// takes the place of Total - Reserve if it is less, and is never exceeded. Go's
// limit is adjusted by the Alloc, Map or discard that has moved the arenas' Used,
// Free and Mapped bytes, as in Stats, by 1/64 of that since the last time; a new
// own limit counts from the next adjustment on.
//
// There is one coupling at a time in a process. stop ends it and brings the
// program's own limit back, as does Close of the last of its arenas; it may be
// called again. Any goroutine may call either.
//
// Errors: ErrCoupled; ErrClosed when one of the arenas is; ErrConfig when none is
// given, Reserve and Floor don't fit into Total, or Total is 0 and nothing says
// how much memory there is.
func CoupleGoMemLimit(cfg Coupling, arenas ...*Arena) (stop func(), err error) {
	if len(arenas) == 0 || slices.Contains(arenas, nil) {
		return nil, fmt.Errorf("%w: coupled are %d arenas, or nil", ErrConfig, len(arenas))
	}
	if cfg.Total == 0 {
		cfg.Total = availableMemory()
	}
	if cfg.Reserve == 0 {
		cfg.Reserve = cfg.Total / 10
	}
	share := cfg.Total - min(cfg.Reserve, cfg.Total)
	if share == 0 || cfg.Floor > share || share > math.MaxInt64 {
		return nil, fmt.Errorf("%w: Floor of %d bytes, with a Total of %d and a Reserve of %d", ErrConfig, cfg.Floor, cfg.Total, cfg.Reserve)
	}
	c := &coupling{share: int64(share), floor: int64(cfg.Floor)}
	for _, a := range arenas {
		if !slices.Contains(c.arenas, a) {
			c.arenas = append(c.arenas, a)
		}
	}
	return c.start()
}

// availableMemory is Total where the caller doesn't know it, 0 if nobody does.
func availableMemory() uint64 {
	limit, _ := sys.CgroupLimit() // an unreadable level doesn't make the others void
	ram, _, _ := sys.RAM()
	if limit == 0 || ram == 0 {
		return max(limit, ram)
	}
	return min(limit, ram)
}
