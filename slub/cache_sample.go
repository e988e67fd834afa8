package slub

import (
	"math"
	"math/rand/v2"
	"sync"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/sheaves"
	"github.com/slubd/slubd/slub/internal/sampling"
)

// samples has the samples of all caches and Buckets: the allocation profile.
//
// An allocation is sampled with the probability 1 - exp(-bytes/rate), whatever the program does in
// between. The stack of the CPU tells when it is the turn of an allocation that a sequence makes
// (sheaves.Set.TryAllocSample); for all others a random number is drawn. A sampled object of a
// cache is alone in a slab (slab.TakeAlone): so its free is seen, and the free of no other object
// takes longer. It is in use until the slab has it back: after FreeRCU when the grace period is
// over, after FreeDeferred when the list is drained. Large objects are in use until the arena has
// their pages.
var samples sampling.Table

// defaultProfileRate is the automatic Config.ProfileRate where the environment says nothing: the
// rate of Go's heap profile.
const defaultProfileRate = 512 << 10

// processProfileRate is the automatic Config.ProfileRate of the process.
var processProfileRate = sync.OnceValue(func() int64 {
	return readBytes("SLUBD_PROFILE_RATE", defaultProfileRate)
})

// profileRate returns the rate that a config's ProfileRate stands for, 0 for none.
func profileRate(configured int64) int64 {
	switch configured {
	case 0:
		return processProfileRate()
	case None:
		return 0
	}
	return configured
}

// A sampler says how the allocations of a cache, or the large ones of Buckets, are picked. It is
// constant; nil picks none.
type sampler struct {
	samples, guards picking // a pick is for one of the two
	every           bool    // by sampling.SampleAll: every allocation takes its slow path
	labels          sampling.Labels
}

// A picking says how often allocations are picked for one purpose.
type picking struct {
	rate   float64 // picks for each byte
	scaled bool    // the governor scales the rate
}

// now returns the picks for each byte on a CPU with the given pace.
func (k *picking) now(pace *cpuPace) float64 {
	if k.scaled {
		return k.rate * pace.share()
	}
	return k.rate
}

// rates returns the picks for each byte for the calling CPU at the moment.
func (s *sampler) rates() (samples, guards float64) {
	here := pace.here()
	return s.samples.now(&here.samples), s.guards.now(&here.guards)
}

// mean returns how many allocations of the given number of bytes lie between two picks, on average,
// for the calling CPU at the moment.
func (s *sampler) mean(bytes uintptr) float64 {
	samples, guards := s.rates()
	return 1 / ((samples + guards) * float64(bytes))
}

// scale returns the factor of the mean distance of picks for the calling CPU at the moment.
func (s *sampler) scale() float64 {
	samples, guards := s.rates()
	return (s.samples.rate + s.guards.rate) / (samples + guards)
}

// pick returns the weight of an allocation that no stack has counted: 0 if it is none to sample.
func (s *sampler) pick(bytes uintptr) (weight float64) {
	if s == nil {
		return 0
	}
	mean := s.mean(bytes)
	if rand.ExpFloat64()*mean > 1 {
		return 0
	}
	return sheaves.SampleWeight(mean)
}

// newSampler returns a sampler for the ProfileRate and the GuardRate of a config, or nil if it
// takes no samples and guards no objects. The governor scales a rate that is automatic.
func newSampler(profile, guarded int64, labels sampling.Labels) *sampler {
	if profile == 0 && sampling.All() {
		// A chance of 1 - exp(-64 * bytes), which is 1 also for 8 bytes.
		return &sampler{samples: picking{rate: 64}, every: true, labels: labels}
	}
	picks := func(rate, configured int64) picking {
		if rate == 0 {
			return picking{}
		}
		return picking{rate: 1 / float64(rate), scaled: configured == 0}
	}
	s := &sampler{samples: picks(profileRate(profile), profile), guards: picks(guardRate(guarded), guarded), labels: labels}
	if s.samples.rate+s.guards.rate == 0 {
		return nil
	}
	return s
}

// sampleSheaves has the sheaves pick allocations.
func (c *Cache) sampleSheaves(cfg *sheaves.Config) {
	if c.sampler == nil {
		return
	}
	s := c.sampler
	cfg.SampleMean = 1 / ((s.samples.rate + s.guards.rate) * float64(c.layout.slot))
	if s.samples.scaled || s.guards.scaled {
		cfg.SampleScale, cfg.SampleEpoch = s.scale, &pace.epoch
	}
}

// label returns the group's name, "" for no group.
func (g *Group) label() string {
	if g == nil {
		return ""
	}
	return g.name
}

// allocSampled allocates an object of the node that is picked with a chance of 1/weight: a guarded
// one, or a sample that stands for weight objects. It returns nil if there is no room for one: then
// the caller allocates as if it had not been picked. Near a limit there is no room, since a sample
// takes a page. The caller counts the allocation.
func (c *Cache) allocSampled(node int, weight float64) (p unsafe.Pointer) {
	guarded, weight := c.sampler.pickGuard(weight)
	if guarded {
		return c.allocGuarded(node)
	}
	start := time.Now()
	if c.Arena().NearLimit() || c.config.Group.nearLimit() || samples.Full() {
		samples.Drop()
		return nil
	}
	var err error
	open := c.closed.whileOpen(func() { p, err = c.slabs.TakeAlone(node) })
	switch {
	case err != nil:
		samples.Drop()
		return nil
	case !open:
		if p != nil {
			c.slabs.Free(p)
		}
		return nil
	}
	labels := c.sampler.labels
	labels.Node = int(c.nodeAt(node))
	samples.Add(uintptr(p), int64(c.layout.slot), weight, start, &labels)
	pace.took(start)
	return p
}

// allocOneSampled is allocSampled for a single allocation, which it counts.
func (c *Cache) allocOneSampled(node int, weight float64) unsafe.Pointer {
	p := c.allocSampled(node, weight)
	if p != nil {
		c.count(AllocSlowpath, 1)
	}
	return p
}

// sampleBulk makes samples of those objects of an AllocBulk that are picked, in the place of what
// the sheaves and slabs have given. If a constructor, hook or report in it doesn't return, the
// objects go back, and objs is nil. A cache that only guards draws no number for the first got of
// them, which are from the sheaves: these say that one is picked.
func (c *Cache) sampleBulk(objs []unsafe.Pointer, got int, picked bool) {
	drawn := objs
	if c.guardsOnly() {
		drawn = objs[got:]
	}
	first := c.sampler.nextPick(c.layout.slot)
	if first.gap >= len(drawn) && !picked {
		return
	}
	callback.Guard(func() {
		node := c.localNodeNow()
		if picked {
			c.guardOne(objs[:got], node)
		}
		c.substitute(drawn, first, node)
	}, func() {
		defer clear(objs)
		c.returnBulk(objs)
	})
}

// A pickAhead is a draw for allocations that no stack has counted: the first gap of them are not
// picked, the next one is.
type pickAhead struct {
	gap  int
	mean float64 // it was drawn with
}

// nextPick draws which of the next allocations of the given number of bytes is picked.
func (s *sampler) nextPick(bytes uintptr) pickAhead {
	mean := s.mean(bytes)
	return pickAhead{drawGap(mean), mean}
}

func drawGap(mean float64) int { return int(min(mean*rand.ExpFloat64(), math.MaxInt32)) }

// substitute replaces the objects that are picked, first as nextPick has drawn, by samples of the
// given node, and returns how many. What is replaced goes to its slab: it counts as allocated, and
// its substitute does not.
func (c *Cache) substitute(objs []unsafe.Pointer, first pickAhead, node int) (samples int) {
	for i := first.gap; i < len(objs); i += 1 + drawGap(first.mean) {
		p := c.allocSampled(node, sheaves.SampleWeight(first.mean))
		if p == nil {
			continue // counted as dropped or skipped
		}
		replaced := objs[i]
		objs[i] = p // first: a report may not return
		samples++
		c.slabs.Free(replaced)
	}
	return samples
}

// isAlone reports whether an object in use is alone in its slab, and must go back there.
func (c *Cache) isAlone(p unsafe.Pointer) bool { return c.sampler != nil && c.slabs.Alone(p) }

// freeAlone frees an object that is alone. ended says that its use has ended, and is counted.
func (c *Cache) freeAlone(p unsafe.Pointer, ended bool) {
	switch {
	case ended:
		c.count(reclaimed, 1)
	case !c.noteGuardedFree(p):
		return
	default:
		c.count(FreeSlowpath, 1)
	}
	c.slabs.Free(p)
}

// sampleLarge makes a large object a sample, if it is picked.
func (b *Buckets) sampleLarge(l large) {
	weight := b.sampler.pick(l.bytes)
	switch {
	case weight == 0:
		return
	case samples.Full():
		samples.Drop()
		return
	}
	start := time.Now()
	labels := b.sampler.labels
	labels.Size, labels.Node = int64(runBytes(l.bytes)), int(b.arena.NodeOf(l.addr))
	samples.Add(l.addr, int64(l.bytes), weight, start, &labels)
	pace.took(start)
}

// forgetLarge notes that a large object goes back.
func (b *Buckets) forgetLarge(l large) {
	if b.sampler != nil {
		samples.Remove(l.addr)
	}
}
