package arena

import (
	"slices"

	"github.com/slubd/slubd/internal/configerr"
	"github.com/slubd/slubd/internal/sys"
)

// Coupling says how CoupleGoMemLimit divides the process' memory between arenas and the Go runtime.
// In every field 0 means automatic. Sizes are bytes.
type Coupling struct {
	// Total is what the process may have. 0 is automatic: AvailableMemory(), which is read again
	// each second while one of the arenas has memory, so that Go's limit follows a container that
	// is resized. Unlimited leaves only the program's own limit.
	Total int64
	// Reserve is the part of Total that neither gets: it is for C, page tables, page maps, the page
	// cache, and the 1/64 by which arenas may run ahead of an adjustment. 0 is automatic: a tenth
	// of Total. None reserves none.
	Reserve int64
	// Floor is what Go always keeps, however much the arenas hold: with less than what is live on
	// its heap the collector would run all the time and free nothing. 0 is automatic: an eighth of
	// Total - Reserve, or of the program's own limit if that is less. None leaves Go no floor.
	Floor int64
}

// validate reports all problems of a coupling whose Total is no longer automatic.
func (c Coupling) validate() error {
	p := configerr.Problems{Prefix: "arena: Coupling.", Kind: ErrConfig}
	reserve := c.reserve(c.Total)
	switch share := c.Total - max(reserve, 0); {
	case c.Total == 0:
		p.Add("Total", "nothing says how much memory there is")
	case c.Total < 0:
		p.Add("Total", "%d bytes are negative", c.Total)
	case share <= 0:
		p.Add("Reserve", "%d bytes leave nothing of a Total of %d", reserve, c.Total)
	case c.Floor > share:
		p.Add("Floor", "%d bytes are more than what a Reserve of %d leaves of a Total of %d", c.Floor, reserve, c.Total)
	}
	if reserve < 0 {
		p.Add("Reserve", "%d bytes are negative", c.Reserve)
	}
	if c.Floor < None {
		p.Add("Floor", "%d bytes are negative", c.Floor)
	}
	return p.Err()
}

// reserve is the part of total bytes that neither Go nor the arenas get.
func (c Coupling) reserve(total int64) int64 {
	switch c.Reserve {
	case 0:
		return total / 10
	case None:
		return 0
	}
	return c.Reserve
}

// share is the part of total bytes that Go and the arenas have together.
func (c Coupling) share(total int64) int64 {
	if total == Unlimited {
		return Unlimited
	}
	return max(0, total-c.reserve(total))
}

// CgroupLimit returns the bytes of memory that the process' cgroups allow, or Unlimited: the
// smallest limit of all levels, versions 1 and 2, that can be seen from here. It reads about ten
// files each time. Any goroutine may call it.
//
// Errors: what could not be read, beside the smallest of the limits that could; outside Linux
// errors.ErrUnsupported.
func CgroupLimit() (bytes int64, err error) {
	limit, err := sys.CgroupLimit()
	if limit == 0 {
		return Unlimited, err
	}
	return int64(limit), err
}

// AvailableMemory returns the bytes of memory that the process may have: the smaller of the
// machine's memory and CgroupLimit, as far as they can be read, and 0 if neither can. It reads
// about ten files each time. Any goroutine may call it.
func AvailableMemory() (bytes int64) {
	bytes, _ = available() // an unreadable level doesn't make the others void
	return bytes
}

// available is AvailableMemory with what could not be read of the cgroups.
func available() (bytes int64, err error) {
	limit, err := CgroupLimit()
	ram, _, _ := sys.RAM()
	switch {
	case ram != 0:
		return min(limit, int64(ram)), err
	case limit == Unlimited:
		return 0, err
	}
	return limit, err
}

// CoupleGoMemLimit keeps the runtime's soft memory limit (GOMEMLIMIT, debug.SetMemoryLimit) at
// Total - Reserve less what the arenas may have resident, so that Go's heap and the arenas together
// stay within Total. The runtime doesn't count the memory of the arenas, and would use all of its
// limit beside them.
//
// The program's own limit, which was in force at the call or which the program has set since,
// replaces Total - Reserve if it is less, and is never exceeded. Go's limit is adjusted when the
// arenas' Used, Free, Mapped and MappedFree bytes, as in Stats, have changed by 1/64 of that since
// the last adjustment, by the Alloc, Map or discard that changed them. A new limit of the program's
// counts from the next adjustment on.
//
// There is one coupling at a time in a process. stop ends it and restores the program's own limit,
// as does Close of the last of its arenas; it may be called again. Any goroutine may call either.
//
// Errors: ErrCoupled; ErrClosed when one of the arenas is; ErrConfig when none is given, Reserve
// and Floor don't fit into Total, or Total is automatic and AvailableMemory knows nothing.
func CoupleGoMemLimit(cfg Coupling, arenas ...*Arena) (stop func(), err error) {
	if len(arenas) == 0 || slices.Contains(arenas, nil) {
		return nil, configerr.New("arena: CoupleGoMemLimit: ", ErrConfig, "arenas", "%d, or one of them is nil", len(arenas))
	}
	c := &coupling{cfg: cfg, watch: arenas[0].cfg.watch}
	if cfg.Total == 0 {
		if cfg.Total = c.watch.read(); cfg.Total == Unlimited {
			cfg.Total = 0 // validate refuses this
		}
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	for _, a := range arenas {
		if !slices.Contains(c.arenas, a) {
			c.arenas = append(c.arenas, a)
		}
	}
	return c.start(cfg.share(cfg.Total))
}
