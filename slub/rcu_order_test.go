package slub

import (
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub/internal/debug"
)

// siteBytes returns the sum of all call sites.
func siteBytes() (sum int64) {
	for _, s := range CallSites() {
		sum += s.Bytes
	}
	return sum
}

// orderCaches do different things for an object when its life ends.
var orderCaches = map[string]struct {
	cfg   Config
	later bool // the hook is set when the cache is in use
	away  bool // the objects are of another node
}{
	"hook":            {cfg: Config{Hardened: None}},
	"hook set later":  {cfg: Config{Flags: InitOnFree}, later: true},
	"call sites":      {cfg: Config{CallSites: true, Hardened: None}},
	"cleared":         {cfg: Config{CallSites: true, Flags: InitOnFree}},
	"no sheaves":      {cfg: Config{CallSites: true, Flags: InitOnFree | NoSheaves}},
	"hardened":        {cfg: Config{CallSites: true, Hardened: On}},
	"typesafe":        {cfg: Config{CallSites: true, Flags: TypesafeByRCU}},
	"no barn":         {cfg: Config{CallSites: true, Flags: InitOnFree, BarnFull: None, BarnEmpty: None}},
	"sampled":         {cfg: Config{CallSites: true, Flags: InitOnFree, ProfileRate: 1}},
	"guarded":         {cfg: Config{CallSites: true, GuardRate: 1}},
	"debug":           {cfg: Config{Flags: InitOnFree, Debug: "FZU"}},
	"of another node": {cfg: Config{CallSites: true, Flags: InitOnFree}, away: true},
	"away, hook late": {cfg: Config{Flags: InitOnFree}, away: true, later: true},
}

// orderWays give the objects to FreeRCU. Their lives end there, or in the Barrier that follows.
var orderWays = map[string]func(t *testing.T, w *witness){
	"Barrier": func(_ *testing.T, w *witness) { w.freeRCU(w.cache.FreeRCU) },
	"Shrink":  func(_ *testing.T, w *witness) { w.freeRCU(w.cache.FreeRCU); w.cache.Shrink() },
	"Close": func(t *testing.T, w *witness) {
		w.freeRCU(w.cache.FreeRCU)
		same(t, "Close", w.cache.Close(), nil)
	},
	"timers": func(_ *testing.T, w *witness) {
		w.freeRCU(w.cache.FreeRCU)
		endGrace(w.cache)
		if w.cache.sheaves != nil {
			w.cache.sheaves.ReclaimReady()
		}
		w.cache.freeQueue.ReclaimReady()
	},
	"Alloc": func(t *testing.T, w *witness) {
		w.freeRCU(w.cache.FreeRCU)
		endGrace(w.cache)
		w.more = take(t, w.cache, 2*len(w.objs))
	},
	"AllocBulk": func(t *testing.T, w *witness) {
		w.freeRCU(w.cache.FreeRCU)
		endGrace(w.cache)
		w.more = make([]unsafe.Pointer, 2*len(w.objs))
		same(t, "AllocBulk", w.cache.AllocBulk(w.more), nil)
	},
	"queue": func(t *testing.T, w *witness) {
		defer holdRCU(w.cache)()
		w.freeRCU(w.cache.FreeRCU)
	},
	"without memory": func(t *testing.T, w *witness) {
		defer holdRCU(w.cache)()
		defer noMemory(t, 0)()
		w.freeRCU(w.cache.FreeRCU) // links the objects, or waits
	},
	"without memory, FreeRCUNoWait": func(t *testing.T, w *witness) {
		defer holdRCU(w.cache)()
		defer noMemory(t, 0)()
		w.freeRCU(w.cache.FreeRCUNoWait) // links the objects, or makes callbacks
	},
	"FreeRCUContext": func(t *testing.T, w *witness) {
		w.freeRCU(func(p unsafe.Pointer) { w.cache.FreeRCUContext(t.Context(), p) })
	},
	"Typed": func(_ *testing.T, w *witness) {
		typed := &Typed[[orderSize]byte]{cache: w.cache}
		w.freeRCU(func(p unsafe.Pointer) { typed.FreeRCU((*[orderSize]byte)(p)) })
	},
	"destructor that panics": func(t *testing.T, w *witness) {
		w.panicAt = 5
		w.freeRCU(w.cache.FreeRCU)
		apart(func() { _ = w.cache.Barrier(t.Context()) })
	},
}

// orderSize is the size of an object in the caches of TestFreeRCUOrder.
const orderSize = 64

// endGrace ends the grace periods of everything that was given to FreeRCU.
func endGrace(c *Cache) {
	if c.sheaves != nil {
		c.sheaves.StartAll()
	}
	c.freeQueue.StartAll()
	graceOver(c)
}

// holdRCU has FreeRCU find no rcu_free, until release is called.
func holdRCU(c *Cache) (release func()) {
	if c.sheaves == nil {
		return func() {}
	}
	return holdStacks(c, percpu.RCU)
}

// What FreeRCU took gets its destructor, leaves the sum of its call site or Account, is shown to
// the Free hook, and is cleared, in this order, whichever way it takes (kernel:
// __rcu_free_sheaf_prepare, where an object may be in both sums; here it is in one at most).
func TestFreeRCUOrder(t *testing.T) {
	for kind, o := range orderCaches {
		for way, free := range orderWays {
			t.Run(kind+", "+way, func(t *testing.T) {
				w := &witness{size: orderSize, seen: map[uintptr]string{}}
				cfg, before := o.cfg, siteBytes()
				cfg.Size, cfg.Domain, cfg.RCUDelay = orderSize, new(rcu.Domain), time.Hour
				if cfg.GuardRate == 0 {
					cfg.GuardRate = None // no object may be read that is guarded and free
				}
				if cfg.Flags&NoSheaves == 0 {
					cfg.RCUDtor = w.destroy
				}
				if !o.later {
					cfg.Hooks.Free = w.hook
				}
				memory := arena.Config{Span: 64 * mib}
				if o.away {
					memory.Topology = fakeNodes(t, numa.System().NumCPU()+1)
				}
				c := open(t, newArena(t, memory), cfg)
				nodes := c.Arena().Topology().Nodes()
				counts := c.marks != nil && c.marks.hasExts()
				poisons := c.debug().has(debug.Poison)
				w.cache, w.counted = c, func(p unsafe.Pointer) bool {
					return counts && c.slabs.Exts().Ref(uintptr(p)) != 0
				}
				for range 150 {
					alloc := c.Alloc
					if o.away { // the last node has no CPU
						alloc = func() (unsafe.Pointer, error) { return c.AllocNode(nodes[len(nodes)-1]) }
					}
					p, err := alloc()
					same(t, "allocation", err, nil)
					w.objs = append(w.objs, p)
				}
				if o.later {
					setHooks(t, c, hooks.Hooks{Free: w.hook})
				}
				free(t, w)
				same(t, "Barrier", c.Barrier(t.Context()), nil)
				w.check(t, cfg.RCUDtor != nil, counts)
				if c.config.Flags&InitOnFree != 0 && cfg.GuardRate == None && !sanitized && !poisons {
					w.wantZero(t)
				}
				if freeAll(c, w.more); siteBytes() != before {
					t.Errorf("call sites have %d bytes, %d before", siteBytes(), before)
				}
			})
		}
	}
}

// So do objects of Buckets, of each kind, which an Account or a call site has.
func TestFreeRCUOrderOfBuckets(t *testing.T) {
	for kind, n := range kinds {
		for name, ofAccount := range map[string]bool{"Account": true, "call site": false} {
			t.Run(kind+", "+name, func(t *testing.T) {
				w := &witness{size: uintptr(n), seen: map[uintptr]string{}}
				b := openBuckets(t, newArena(t, arena.Config{Span: 64 * mib}), BucketsConfig{
					CallSites: !ofAccount, Debug: "-", Flags: InitOnFree, GuardRate: None,
					Domain: new(rcu.Domain), RCUDtor: w.destroy, Hooks: hooks.Hooks{Free: w.hook}})
				a, err := b.NewAccount(AccountConfig{})
				same(t, "NewAccount", err, nil)
				t.Cleanup(a.Close)
				alloc, used := a.Malloc, a.Usage
				if !ofAccount {
					alloc, used = b.Malloc, siteBytes
				}
				before := used()
				w.counted = func(p unsafe.Pointer) bool { return used() > before }
				for way, free := range map[string]func(unsafe.Pointer){
					"FreeRCU": b.FreeRCU, "FreeRCUNoWait": b.FreeRCUNoWait,
					"FreeRCUContext": func(p unsafe.Pointer) { b.FreeRCUContext(t.Context(), p) },
					"FreeBytesRCU":   func(p unsafe.Pointer) { b.FreeBytesRCU(unsafe.Slice((*byte)(p), 1)) },
				} {
					clear(w.seen)
					w.objs = []unsafe.Pointer{first(alloc(n))}
					w.cache = b.cacheOf(w.objs[0])
					w.freeRCU(free)
					same(t, way+": Barrier", b.Barrier(t.Context()), nil)
					if w.check(t, true, true); !sanitized && kind != "mapping" {
						w.wantZero(t)
					}
				}
				if used() != before {
					t.Errorf("%d bytes are counted, %d before", used(), before)
				}
			})
		}
	}
}
