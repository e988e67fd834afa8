package arena

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slubd/slubd/internal/lazytimer"
	"github.com/slubd/slubd/numa"
)

// What the kernel said when the range was bound doesn't stay true: a full node's pages come from
// others, cpusets change, a node's memory is taken offline, and some kernels accept every policy
// but keep none. So while the arena has pages, a timer asks the kernel where some of them lie. A
// run
//
//	updateNodes finds which nodes have memory that the process may use, and binds again what was
//	            refused before (observe_nodes.go)
//	sample      asks where some pages in use lie, for Stats and PlacementError (observe_sample.go)
//	mend        moves pages to their node, and discards free blocks with many pages of others, as
//	            far as the node has room (observe_mend.go)
//
// An arena whose topology has one node with memory, or that binds nothing, is not observed. Nor is
// one whose topology is another machine's, as in tests of programs: what lies in the range for a
// node is that node's there, whatever the kernel says.

const (
	defaultObserve = time.Second
	// slowest is by how much the rest between two runs grows while nothing changes.
	slowest = 16
	// duty bounds the time that runs take, as a part of all time: 1/duty.
	duty = 20
)

// kernelView is what an observer asks and tells the kernel. Tests replace it.
type kernelView struct {
	bind    func(*backing, numa.Policy, uintptr, uintptr) (numa.Placement, error)
	observe func([]numa.Sample) (seen []numa.Observed, source string, err error)
	where   func([]uintptr) ([]numa.Node, error)
	move    func([]uintptr, numa.Node) (there int, err error)
	allowed func() ([]numa.Node, error)
	has     func(numa.Node) bool // whether the machine has the node
}

var kernel = kernelView{(*backing).bind, numa.Observe, numa.Where, numa.Move, numa.Allowed,
	func(n numa.Node) bool { return numa.System().Index(n) >= 0 }}

// observer finds out where the arena's pages lie.
type observer struct {
	timer  lazytimer.Timer // exclusive; calls Arena.observed
	on     bool            // the timer is ready; set by New
	judges bool            // PlacementError has something to say; set by New
	errs   []atomic.Pointer[PlacementError]
	// noError is always nil.
	noError atomic.Pointer[PlacementError]

	// running is held by a run, and guards the fields below. Close waits for it. Taken before all
	// locks of the arena.
	running sync.Mutex
	rest    time.Duration // until the next run, if nothing changes
	sweeps  []sweep       // by topology index

	mu    sync.Mutex // a leaf
	by    string     // what was asked: numa.SourceMovePages, ...; "" while nothing could be
	why   string     // why nothing could be
	nodes []nodeView // by topology index
}

// nodeView is what is known of one node's part. Guarded by observer.mu.
type nodeView struct {
	granted            bool   // the kernel has accepted the policy
	lost               string // why the process can have no memory of the node now; or empty
	sampled, elsewhere int    // pages of the last sample
	misplaced          int64  // pages, estimated from it
	moved              uint64 // pages moved to the node
}

// misplacedPart is the part of sampled pages on other nodes above which a node's memory is not
// where it is said to be: 1/misplacedPart of at least as many pages.
const misplacedPart = 8

// many reports whether more pages lie on other nodes than a few that fell there.
func (v *nodeView) many() bool {
	return v.sampled >= misplacedPart && v.elsewhere*misplacedPart > v.sampled
}

// startObserver prepares the observer. Preconditions: the zones are bound.
func (a *Arena) startObserver() {
	o := &a.observer
	o.nodes = make([]nodeView, len(a.zones))
	o.errs = make([]atomic.Pointer[PlacementError], len(a.zones))
	o.sweeps = make([]sweep, len(a.zones))
	for i := range a.zones {
		o.nodes[i].granted = a.zones[i].granted
	}
	if a.spread() {
		a.judgeSpread()
		return
	}
	if heapBacked || !a.binds() || len(a.topo.Fallback(numa.NoNode)) < 2 {
		o.why = "nothing to ask: all memory is of one node, or none is bound"
		return
	}
	if i := slices.IndexFunc(a.topo.Nodes(), func(n numa.Node) bool { return !a.cfg.kernelView.has(n) }); i >= 0 {
		o.why = fmt.Sprintf("nothing to ask: this machine has no node %d", a.topo.Nodes()[i])
		return
	}
	o.judges = true
	_, o.by, _ = a.cfg.kernelView.observe([]numa.Sample{{Addr: a.base, Bytes: 1}})
	if o.by == "" {
		o.why = "the kernel refuses move_pages and numa_maps"
	}
	a.updateNodes()
	a.judge()
	if a.cfg.Observe > 0 {
		o.timer.InitExclusive(a.observed, a.anyCharged, a.cfg.Observe)
		o.on = true
	}
}

// armObserver lets the timer run, after pages were charged.
func (a *Arena) armObserver() {
	if a.observer.on {
		a.observer.timer.Arm(a.cfg.Observe)
	}
}

// stopObserver waits for the end of a run. Preconditions: Arena.runs says that the arena is closed,
// so that a later run does nothing.
func (a *Arena) stopObserver() {
	if a.observer.on {
		a.observer.timer.Stop()
		a.observer.running.Lock()
		defer a.observer.running.Unlock() // no run is under way, and a later one does nothing
	}
}

func (a *Arena) anyCharged() bool {
	charged, _ := a.ledger.load()
	return charged > 0 && a.runs.Load() >= 0
}

// observed is the timer's function. It returns the time until the timer's next run, 0 for none if
// the arena has no pages.
func (a *Arena) observed() time.Duration {
	o := &a.observer
	o.running.Lock()
	defer o.running.Unlock()
	if !a.anyCharged() {
		o.rest = 0
		return 0
	}
	start := time.Now()
	changed := a.updateNodes()
	changed = a.sample() || changed
	mending := a.mend(start)
	a.judge()
	switch {
	case mending: // o.rest stays for the end of the sweep, whose pages may not move
		return max(pace, duty*time.Since(start))
	case changed || o.rest == 0:
		o.rest = a.cfg.Observe
	default:
		o.rest = min(2*o.rest, slowest*a.cfg.Observe)
	}
	return max(o.rest, duty*time.Since(start))
}

// judge derives the errors of PlacementError from the last look. It logs what changes.
func (a *Arena) judge() {
	o := &a.observer
	o.mu.Lock()
	views, by, why := slices.Clone(o.nodes), o.by, o.why
	o.mu.Unlock()
	for i := range views {
		v, node := &views[i], a.zones[i].node
		if !a.topo.HasMemory(node) {
			continue // its pages come from another node, which callers know
		}
		var e *PlacementError
		switch {
		case v.lost != "":
			e = &PlacementError{Node: node, Reason: v.lost}
		case by == "":
			e = &PlacementError{Node: node, Reason: why}
		case v.many():
			e = &PlacementError{Node: node, Reason: reasonElsewhere}
		case !v.granted:
			e = &PlacementError{Node: node, Reason: "the kernel won't place memory", FirstTouch: true}
		}
		before := o.errs[i].Load()
		if before == nil && e == nil || before != nil && e != nil && *before == *e {
			continue
		}
		o.errs[i].Store(e)
		a.logPlacement(node, before, e)
	}
}

const reasonElsewhere = "many of its pages lie on other nodes"

// observation adds what is known of a node to its figures.
func (o *observer) observation(i int, s *NodeStats) {
	o.mu.Lock()
	defer o.mu.Unlock()
	v := &o.nodes[i]
	s.Sampled, s.Elsewhere, s.Misplaced, s.Moved = int64(v.sampled), int64(v.elsewhere), v.misplaced, v.moved
	switch {
	case v.lost != "":
		s.Placement += "; " + v.lost
	case v.many():
		s.Placement += "; " + reasonElsewhere
	}
}

// source is what was asked and, if that is nothing, why.
func (o *observer) source() (by, why string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.by != "" {
		return o.by, ""
	}
	return "", o.why
}
