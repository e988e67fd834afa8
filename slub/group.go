package slub

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/slubd/slubd/internal/lock"
	"github.com/slubd/slubd/internal/names"
	"github.com/slubd/slubd/internal/text"
)

// GroupConfig describes a Group. In every field 0 means automatic.
type GroupConfig struct {
	// Name appears in errors and is the metrics' group label, with the characters of Config.Name.
	// Empty is automatic: "group". If an open group has the name already, NewGroup appends "#" and
	// a number.
	Name string
	// Parent is charged for this group as well. It must not have a parent itself. nil: none.
	Parent *Group
	// Limit bounds the bytes of pages that may be charged. None lets nothing be allocated. 0 is
	// automatic: Unlimited, so that only the parent and the arena bound the group. See SetLimit.
	Limit int64
}

// Validate reports all problems of the config at once, as NewGroup does. Each names the group and
// the field, and wraps ErrConfig.
func (c GroupConfig) Validate() error {
	p := configErrors("group", c.name(), "GroupConfig")
	if !validName(c.name()) {
		p.Add("Name", "%q: want 1 to %d letters, digits and _-.:/", c.Name, maxName)
	}
	if c.Parent != nil && c.Parent.parent != nil {
		p.Add("Parent", "%q has a parent itself, and there are two levels", c.Parent.name)
	}
	p.Within("Limit", c.Limit, None, math.MaxInt64)
	return p.Err()
}

func (c GroupConfig) name() string {
	if c.Name == "" {
		return "group"
	}
	return c.Name
}

// groups has all open groups.
var groups groupRegistry

type groupRegistry struct {
	mu    sync.Mutex
	open  []*Group // oldest first
	names names.Set[*Group]
}

// NewGroup makes a Group without members. Caches and Buckets of any arenas join it by Config.Group
// and BucketsConfig.Group, when they are made. Any goroutine. It takes no memory but the Group.
// Errors: ErrConfig, joined for all problems of cfg, or for a Parent that is closed. (Kernel: mkdir
// in the cgroup file system.)
func NewGroup(cfg GroupConfig) (*Group, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	g := &Group{parent: cfg.Parent, round: lock.NewTurn()}
	g.setLimit(cfg.Limit)
	groups.mu.Lock()
	defer groups.mu.Unlock()
	g.name = groups.names.Add(cfg.name(), g)
	if p := cfg.Parent; p != nil && !p.adopt(g) {
		groups.names.Remove(g.name, g)
		errs := configErrors("group", cfg.name(), "GroupConfig")
		errs.Add("Parent", "%q is closed", p.name)
		return nil, errs.Err()
	}
	groups.open = append(groups.open, g)
	return g, nil
}

// adopt makes child a child of g, unless g is closed.
func (g *Group) adopt(child *Group) (ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.children = append(g.children, child)
	}
	return !g.closed
}

// Groups yields the groups that are open at the time of the call, oldest first. Any goroutine.
func Groups() iter.Seq[*Group] {
	groups.mu.Lock()
	open := slices.Clone(groups.open)
	groups.mu.Unlock()
	return slices.Values(open)
}

// Name returns the group's name, which is unique among the open groups.
func (g *Group) Name() string { return g.name }

// Parent returns the group's parent, or nil.
func (g *Group) Parent() *Group { return g.parent }

// Limit returns the bound in force in bytes, or Unlimited. It is one load.
func (g *Group) Limit() int64 { return g.limit.Load() }

// SetLimit changes the bound to n bytes; 0 is automatic, None lets nothing more be allocated, as
// in GroupConfig. If more is charged than that, the group's caches give back what they keep, and
// what is in use stays: allocations that need pages fail until enough has been freed. One that is
// under way may still use the old bound.
//
// Any goroutine, but not a hook or RCUDtor. It costs a store, and with too much charged what
// Cache.Shrink costs for each cache of the group. (Kernel: a write to memory.max.)
func (g *Group) SetLimit(n int64) {
	g.setLimit(n)
	excess := g.used.Load() - g.limit.Load()
	if excess <= 0 || !g.round.Take() {
		return
	}
	defer g.round.Give()
	r := groupRound{level: g, bytes: excess, again: func() error { return g.wouldRefuse(0) }}
	_ = r.ask(g, nil) || r.askOthers(g)
}

func (g *Group) setLimit(n int64) {
	switch {
	case n == 0:
		n = Unlimited
	case n < 0:
		n = 0
	}
	g.limit.Store(n)
}

// Close closes a Group without members, and takes it from Groups. Caches, Buckets, groups and
// Accounts that belong to it have to be closed before. A nil Group, and one that is closed, are
// closed already. Any goroutine. Errors: ErrGroupBusy, with the names of members. (Kernel: rmdir in
// the cgroup file system, EBUSY.)
func (g *Group) Close() error {
	if g == nil {
		return nil
	}
	if err := g.close(); err != nil {
		return err
	}
	groups.mu.Lock()
	defer groups.mu.Unlock()
	groups.open = slices.DeleteFunc(groups.open, func(open *Group) bool { return open == g })
	groups.names.Remove(g.name, g)
	if p := g.parent; p != nil {
		p.mu.Lock()
		p.children = slices.DeleteFunc(p.children, func(child *Group) bool { return child == g })
		p.mu.Unlock()
	}
	return nil
}

// close refuses members from then on, unless there are some.
func (g *Group) close() error {
	g.mu.Lock()
	members, children := slices.Clone(g.members), slices.Clone(g.children)
	joining, accounts := g.joining, g.accounts
	g.closed = g.closed || len(members)+len(children)+joining+accounts == 0
	closed := g.closed
	g.mu.Unlock()
	if closed {
		return nil
	}
	var list []string
	if joining > 0 {
		list = append(list, "a cache that is being made")
	}
	if accounts > 0 {
		list = append(list, text.Count(int64(accounts), "account", "accounts"))
	}
	for _, m := range members {
		if m.buckets != nil || m.cache.Buckets() == nil {
			list = append(list, strconv.Quote(m.name()))
		}
	}
	for _, child := range children {
		list = append(list, "group "+strconv.Quote(child.name))
	}
	more := ""
	if n := len(list) - maxListed; n > 0 {
		list, more = list[:maxListed], fmt.Sprintf(" and %d more", n)
	}
	return fmt.Errorf("%w: group %q: %s%s", ErrGroupBusy, g.name, strings.Join(list, ", "), more)
}

// Caches yields the caches that belong to the group itself, not those of its children; among them
// the size classes of its Buckets, and of caches that share slabs the oldest. Any goroutine. A
// cache may be closed while the caller uses it.
func (g *Group) Caches() iter.Seq[*Cache] {
	g.mu.Lock()
	members := slices.Clone(g.members)
	g.mu.Unlock()
	return func(yield func(*Cache) bool) {
		for _, m := range members {
			if m.cache != nil && !yield(m.cache.primary()) {
				return
			}
		}
	}
}

// Group returns the Group that the cache belongs to, or nil.
func (c *Cache) Group() *Group { return c.config.Group }

// Group returns the Group that the Buckets belong to, or nil.
func (b *Buckets) Group() *Group { return b.config.Group }

// GroupStats is a reading of a Group. Its figures belong to slightly different moments.
type GroupStats struct {
	Name   string
	Parent string // name of the parent, empty if there is none
	// Bytes are charged now, and Peak was the most so far, in pages of slabs, page runs and
	// mappings, and in steps of 4 KiB for Accounts, those of children included.
	Bytes, Peak int64
	Limit       int64  // Unlimited if there is none
	Failures    uint64 // allocations that failed at this group's limit, its children's included
	// Rounds counts allocations that have found the limit reached and had the group's caches give
	// back what they keep, Helped those among them that succeeded then, and Objects what was given
	// back: free objects, and empty slabs.
	Rounds, Helped, Objects uint64
	Caches, Buckets, Groups int // members of the group itself; size classes count as caches
	// Accounts are those with the group as their parent that have allocated anything, until they
	// are closed and what was charged to them is free.
	Accounts int
}

// Stats reads the group's counters and gauges. Any goroutine, also after Close. It costs some
// loads for each cache of the group itself.
func (g *Group) Stats() GroupStats {
	s := GroupStats{Name: g.name, Bytes: g.used.Load(), Peak: g.peak.Load(), Limit: g.limit.Load(), Failures: g.failures.Load(),
		Rounds: g.rounds.Load(), Helped: g.helped.Load(), Objects: g.objects.Load()}
	if g.parent != nil {
		s.Parent = g.parent.name
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s.Groups, s.Accounts = len(g.children), g.accounts
	for _, m := range g.members {
		if m.buckets != nil {
			s.Buckets++
		} else {
			s.Caches++
		}
	}
	return s
}
