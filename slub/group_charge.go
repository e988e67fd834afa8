package slub

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/slubd/slubd/internal/lock"
)

// A Group bounds what several caches and Buckets have together, such as those of one tenant of a
// program. It is charged for the pages of their slabs, and for the page runs and mappings of large
// objects, from before they are taken from the arena until the arena has them back. So it answers
// for free objects in sheaves and barns, for empty slabs, and for what waits for a grace period,
// as for objects in use. A Group may have a parent, which is charged for all of its children as
// well; a parent has none.
//
// An operation that needs no new pages costs nothing more in a Group, and one that does costs an
// atomic operation for each level. Any goroutine may call all methods at any time. (Kernel: struct
// mem_cgroup, struct page_counter.)
type Group struct {
	name   string
	parent *Group // nil at the upper level

	limit, used, peak                 atomic.Int64 // bytes; see charge
	failures, rounds, helped, objects atomic.Uint64

	round lock.Turn // taken by a round that has the group's own caches give back what they keep

	mu       sync.Mutex // guards what follows; a leaf
	members  []*groupMember
	joining  int // members that are being made
	children []*Group
	accounts int // with objects that it is charged for
	closed   bool
}

// charge adds bytes that are about to be taken from an arena to the group and its parent, or adds
// nothing and returns a *GroupError. A nil Group is charged for nothing.
//
// A level's sum and its limit are compared in the step that adds, by compare-and-swap. So the sum
// never exceeds the limit, not even for an instant, unless SetLimit has lowered the limit, and what
// is refused at one level never makes an attempt at this level fail. The child comes first: what
// the parent refuses was charged to the child for an instant, which may make an attempt of the same
// child fail, but none of another.
func (g *Group) charge(bytes int64) error {
	if g == nil {
		return nil
	}
	sum, ok := g.add(bytes)
	if !ok {
		return g.refusal(g, bytes)
	}
	if p := g.parent; p != nil {
		parentSum, ok := p.add(bytes)
		if !ok {
			g.used.Add(-bytes)
			return g.refusal(p, bytes)
		}
		p.notePeak(parentSum)
	}
	g.notePeak(sum)
	return nil
}

// uncharge subtracts bytes that the arena has back, or did not give.
func (g *Group) uncharge(bytes int64) {
	if g == nil {
		return
	}
	if g.parent != nil {
		g.parent.used.Add(-bytes)
	}
	g.used.Add(-bytes)
}

// add adds bytes to one level, unless its limit is below the sum.
func (g *Group) add(bytes int64) (sum int64, ok bool) {
	for {
		used := g.used.Load()
		if bytes > g.limit.Load()-used {
			return 0, false
		}
		if g.used.CompareAndSwap(used, used+bytes) {
			return used + bytes, true
		}
	}
}

func (g *Group) notePeak(sum int64) {
	for {
		peak := g.peak.Load()
		if sum <= peak || g.peak.CompareAndSwap(peak, sum) {
			return
		}
	}
}

// least returns the lower limit of the group and its parent in bytes, Unlimited for no Group.
func (g *Group) least() int64 {
	switch {
	case g == nil:
		return Unlimited
	case g.parent == nil:
		return g.limit.Load()
	}
	return min(g.limit.Load(), g.parent.limit.Load())
}

// nearLimit reports whether less than a sixteenth is left of the limit of the group or its parent,
// as Arena.NearLimit does.
func (g *Group) nearLimit() bool {
	for level := g; level != nil; level = level.parent {
		if limit := level.limit.Load(); limit-level.used.Load() < limit/16 {
			return true
		}
	}
	return false
}

// wouldRefuse returns the error that charge would return now, or nil.
func (g *Group) wouldRefuse(bytes int64) error {
	for level := g; level != nil; level = level.parent {
		if bytes > level.limit.Load()-level.used.Load() {
			return g.refusal(level, bytes)
		}
	}
	return nil
}

// refusal returns the error of a charge to g that the given level has refused.
func (g *Group) refusal(level *Group, bytes int64) *GroupError {
	return &GroupError{Group: g.name, Refused: level.name, Limit: level.limit.Load(), InUse: level.used.Load(),
		Bytes: bytes, level: level}
}

// A GroupError says that an allocation failed since a Group has reached its limit. It matches
// ErrGroupLimit and ErrNoMemory.
type GroupError struct {
	Group   string // name of the group that the cache or the Buckets belong to
	Refused string // name of the group whose limit is reached: the same, or its parent
	// Limit is that of the group that has refused, and InUse what was charged to it then, in bytes.
	Limit, InUse int64
	Bytes        int64 // needed, for a slab, a page run or a mapping

	level *Group // the one called Refused
}

// Error names the group, and its parent if that has refused.
func (e *GroupError) Error() string {
	of := ""
	if e.Refused != e.Group {
		of = fmt.Sprintf(", the parent of %q,", e.Group)
	}
	return fmt.Sprintf("%v: group %q%s has %d of %d bytes in use, and needs %d more", ErrGroupLimit, e.Refused, of, e.InUse, e.Limit, e.Bytes)
}

// Unwrap returns ErrGroupLimit.
func (e *GroupError) Unwrap() error { return ErrGroupLimit }

// refusedBy returns the Group whose limit is the reason of an error, or nil.
func refusedBy(err error) *Group {
	if e := (*GroupError)(nil); errors.As(err, &e) {
		return e.level
	}
	return nil
}
