package sheaves

import (
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/rcu"
)

// Config says what New makes.
type Config struct {
	// Slots are the stacks that percpu.Pop and percpu.Free work on, zeroed. They stay the
	// caller's, who gives them up after Close.
	Slots percpu.Slots
	// Own gives the owner word of the objects that a CPU's stacks accept, by the
	// index of its node. Never 0, which is the owner word of closed stacks.
	Own func(node int) uint32
	// NodeOfCPU gives the index of a CPU's node, Nodes their number.
	NodeOfCPU func(cpu int) int
	Nodes     int
	// NodeOf gives the index of the node that an object lies on.
	NodeOf func(obj unsafe.Pointer) int
	Source Source
	// Domain provides the grace periods.
	Domain *rcu.Domain
	// Capacity of a sheaf in objects, 1..percpu.MaxCap. See Capacity. SetCapacity and
	// SetLimits change this and what follows.
	Capacity int
	// Backlog, if not nil, counts ObjectSize bytes for every object that FreeRCU has
	// accepted, and for every place that a CPU's rcu_free keeps for one.
	Backlog    *Backlog
	ObjectSize uintptr
	// Delay bounds how long an object waits in an rcu_free sheaf that doesn't
	// fill, before its grace period begins; 0 means DefaultDelay.
	Delay time.Duration
	// MaxFull and MaxEmpty limit a barn's sheaves; 0 means 10, as in the kernel.
	MaxFull, MaxEmpty int
	// MaxWaiting is how many sheaves a barn lets wait for CPUs to want them; 0 means
	// 512. Where as many objects are allocated as are freed they go round through the
	// grace period and never see a slab, which at 60 million objects a second and a
	// grace period of a millisecond takes 1000 sheaves of 60.
	MaxWaiting int
}

// DefaultDelay is how long a half-full rcu_free sheaf stays on its CPU. The kernel
// has no such bound; 20 ms was what kfree_rcu's own batching used (KFREE_DRAIN_JIFFIES
// before 5 s), long against a grace period and short against a person's patience.
const DefaultDelay = 20 * time.Millisecond

// A Set is the sheaves of one cache: two per-CPU stacks for every possible CPU and
// a barn for every node. All methods but Close may be called by any goroutine.
type Set struct {
	Config   // as New was given it: Capacity, MaxFull, MaxEmpty and MaxWaiting are in limits
	limits   // Set's methods of these names hide the four
	counters percpu.Counters
	barns    []barn
	pool     pools

	flushing sync.Mutex // one flush of all CPUs or change of limits at a time (kernel: flush_lock)
	ended    bool       // CloseContext has come to its end; under flushing
	expiring inFlight   // sheaves between their barn and the end of Expire

	timer      *time.Timer // runs tick
	timerArmed atomic.Bool
	ticking    sync.Mutex // only tried but by Close; guards seen and the barns' mark
	seen       []uint64   // by CPU: which rcu_free tick saw last; 0 none
	closed     atomic.Bool
}

// New makes a Set with an empty main sheaf on every CPU. Errors: ErrConfig, joined for all
// problems of cfg; the refused mapping's.
func New(cfg Config) (*Set, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Delay == 0 {
		cfg.Delay = DefaultDelay
	}
	s := &Set{Config: cfg, barns: make([]barn, cfg.Nodes), seen: make([]uint64, percpu.NumCPU())}
	s.limits.init(cfg)
	s.pool = pools{of: map[int]*pool{}, keep: cfg.Capacity}
	var err error
	if s.counters, err = percpu.NewCounters(int(numCounters)); err != nil {
		return nil, err
	}
	mains, err := s.newMains(cfg.Capacity)
	if err != nil {
		s.pool.close()
		_ = s.Forget() // where the kernel refuses, a page stays resident
		return nil, err
	}
	for i := range s.barns {
		b := &s.barns[i]
		b.limit = uint32(cfg.Capacity)
		b.reapExcess = func() { s.reapExcess(b) }
	}
	s.timer = time.AfterFunc(time.Hour, s.tick)
	s.timer.Stop()
	for cpu := range percpu.NumCPU() {
		own := cfg.Own(cfg.NodeOfCPU(cpu))
		install(s.Slots.Stack(cpu, percpu.Main), mains.pop(), own)
		s.Slots.Stack(cpu, percpu.RCU).Install(0, 0, 0, own)
	}
	s.Backlog.Join(s)
	return s, nil
}

func (s *Set) newSheaf(capacity int) (*sheaf, error) {
	sh, err := s.pool.get(capacity)
	if err == nil {
		s.count(SheafAlloc, 1)
	}
	return sh, err
}

func (s *Set) freeSheaf(sh *sheaf) {
	s.count(SheafFree, 1)
	s.pool.put(sh)
}

// barnOf returns the barn of a CPU's node and the node's index.
func (s *Set) barnOf(cpu int) (*barn, int) {
	node := s.NodeOfCPU(cpu)
	return &s.barns[node], node
}

// install makes sh the stack's array. The caller holds the stack's lock, here and
// below.
func install(st *percpu.Stack, sh *sheaf, own uint32) {
	st.Install(sh.array(), int(sh.size), int(sh.limit), own)
	st.Sheaf = sh.word()
}

// settle writes the stack's size back into its sheaf and returns it, for the sheaf
// to leave.
func settle(st *percpu.Stack) *sheaf {
	sh := sheafOf(st.Sheaf)
	sh.size = uint32(st.Size())
	return sh
}

// setSpare replaces the spare; nil for none.
func setSpare(st *percpu.Stack, sh *sheaf) {
	if sh == nil {
		st.SetSpare(0, 0)
	} else {
		st.SetSpare(sh.word(), int(sh.size))
	}
}

// swap exchanges main and spare.
func swap(st *percpu.Stack) {
	main, spare := settle(st), sheafOf(st.Spare)
	install(st, spare, st.Own())
	setSpare(st, main)
}
