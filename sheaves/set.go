package sheaves

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slubd/slubd/internal/lazytimer"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/rcu"
)

// A Set is the sheaves of one pool of objects: two stacks for every possible CPU and a barn for
// every node, and as many stacks again for each further node whose objects the CPUs free. All
// methods may be called by any goroutine, unless they say otherwise.
type Set struct {
	// The sheaves of each CPU for objects of its own node.
	cpuSheaves
	remote // those for objects of other nodes

	// What Alloc, Free and FreeRCU read, constant after New.
	pop     percpu.Pop
	free    percpu.Free
	freeRCU percpu.Free

	source     Source
	homes      percpu.NodeOf // by CPU, the index of its node
	nodes      *percpu.Nodes // homes, and what completes it
	domain     *rcu.Domain
	ownSlots   bool         // Close frees slots
	hasRange   bool         // free and freeRCU let objects through
	owners     []owner.Word // by node
	objectSize uintptr
	backlog    Backlog
	delay      time.Duration
	sampleMean float64 // see sample.go, also for the next field

	sampleScale func() float64
	sampleEpoch *atomic.Uint32

	limits
	counters percpu.Counters
	barns    []barn
	pool     pools

	flushing   sync.Mutex // one flush of all CPUs, or change of limits (kernel: flush_lock)
	ended      bool       // CloseContext has finished; under flushing
	discarded  bool       // the counters have been given up; under flushing
	reclaiming inFlight   // sheaves between their barn and the end of Reclaim

	inCallbacks atomic.Int64 // objects of FreeRCU that wait in callbacks of domain

	timer   lazytimer.Timer // runs tick
	ticking sync.Mutex      // only tried, except by Close; guards lastTick and newestAtLastTick
	closed  atomic.Bool

	onBarnOf func() // for tests: called once, by the next barnOf
}

// New makes a Set. It costs 24 bytes for every possible CPU. A CPU gets its main sheaf and 512
// bytes of per-CPU memory with its first operation. Errors: ErrConfig, joined for all problems of
// cfg; that of a mapping which the kernel refused.
func New(cfg Config) (*Set, error) {
	cfg.automatic()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Set{source: cfg.Source, nodes: cfg.cpuNodes(), domain: cfg.Domain, owners: cfg.owners(), objectSize: cfg.ObjectSize,
		backlog: cfg.Backlog, delay: cfg.Delay, sampleMean: cfg.SampleMean, sampleScale: cfg.SampleScale, sampleEpoch: cfg.SampleEpoch}
	s.homes = s.nodes.NodeOf
	s.cpuSheaves.init(s, percpu.Slots(cfg.Slots))
	s.limits.init(&cfg)
	s.pool = pools{of: map[int]*pool{}, keep: cfg.Capacity, nodes: min(cfg.Nodes, maxHomes)}
	if err := s.reserve(); err != nil {
		return nil, err
	}
	s.initBarns(&cfg)
	s.timer.Init(s.tick)
	s.remote.init(s, &cfg)
	s.initOperations(cfg.Range)
	s.backlog.Add(s)
	return s, nil
}

// reserve gets the memory that New needs: the counters, the stacks if they are the Set's own, and
// addresses for the first sheaves. After an error nothing of it is left but what the kernel refuses
// to take back.
func (s *Set) reserve() (err error) {
	if s.counters, err = percpu.NewCounters(int(numCounters)); err != nil {
		return err
	}
	if s.slots == (percpu.Slots{}) {
		if s.slots, err = percpu.NewSlots(); err != nil {
			_ = s.counters.Free()
			s.counters.Recycle()
			return err
		}
		s.ownSlots = true
	}
	if err = s.pool.reserve(s.Capacity()); err != nil {
		s.pool.close()
		s.freeCells()
	}
	return err
}

// freeCells frees the Set's per-CPU memory, as far as it is its own. Where the kernel refuses to
// take a page it stays resident.
func (s *Set) freeCells() {
	if !s.discarded {
		_ = s.freeCounters()
	}
	if s.ownSlots {
		_ = s.slots.Free()
		runtime.AddCleanup(s, percpu.Slots.Recycle, s.slots)
	}
}

// freeCounters frees the counters. Their cell is used again when nothing refers to s any more.
func (s *Set) freeCounters() error {
	s.discarded = true
	s.remote.freeSlots(s)
	err := s.counters.Free()
	runtime.AddCleanup(s, percpu.Counters.Recycle, s.counters)
	return err
}

// newSheaf takes a sheaf from the pool, for the calling CPU's node. Errors: ErrClosed; that of a
// refused mapping.
func (s *Set) newSheaf(capacity int) (*sheaf, error) {
	sh, err := s.pool.get(capacity, s.homes.Index(percpu.CPUNow())%s.pool.nodes)
	if err == nil {
		s.count(SheafAlloc, 1)
	}
	return sh, err
}

func (s *Set) freeSheaf(sh *sheaf) {
	s.count(SheafFree, 1)
	s.pool.put(sh)
}

// install makes sh the stack's array. The caller holds the stack's lock.
func install(st *percpu.Stack, sh *sheaf, own owner.Word) {
	st.Install(sh.array(), int(sh.size), int(sh.limit), own)
	st.Sheaf = sh.addr()
}

// detachMain writes the stack's size back into its sheaf and returns the sheaf, which the caller
// replaces before it unlocks the stack.
func detachMain(st *percpu.Stack) *sheaf {
	sh := sheafOf(st.Sheaf)
	sh.size = uint32(st.Size())
	return sh
}
