package slub

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/text"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/sheaves"
)

// Buckets allocate values of any size: up to 32 KiB from a cache per size class, up to
// 4 MiB as page runs of the arena, beyond that as mappings of their own. Memory of one
// Buckets is never another's, so that a user whose sizes a stranger can choose may be
// kept apart (kernel: kmalloc, kmem_buckets).
//
// All methods may be called by any goroutine at any time, but for Close, which must
// come after the last use.
type Buckets struct {
	malloc percpu.PopBySize
	free   percpu.FreeByOwner

	// Constant after NewBuckets.
	caches     []*Cache // of all classes, for each partition
	firstID    uint32   // number of caches[0]; the others' follow
	partitions uint

	arena    *arena.Arena
	config   BucketsConfig
	id       uint32 // of the owner of page runs
	secret   uint64 // for the choice of a partition
	large    largeObjects
	rcuQueue rcuQueue // large objects for FreeRCU
	backlog  *backlog // of all sizes

	closing sync.Mutex
	closed  atomic.Bool
}

// BucketsConfig describes Buckets. The zero value is good.
type BucketsConfig struct {
	// Name is what the names of caches begin with, before "-SIZE"; empty means
	// "malloc". Rules as for Config.Name.
	Name string
	// Partitions is the number of copies of each class, 0 or 1 to 64. With more than
	// one, the place in the program that calls Malloc decides, by a secret, which one it
	// gets: a use after free then rarely meets an object of another kind. Finding the
	// caller costs about 100 ns. (Kernel: RANDOM_KMALLOC_CACHES.)
	Partitions int
	// RCUDtor is called once on each object given to FreeRCU, as Config.RCUDtor is,
	// whatever its size.
	RCUDtor func(unsafe.Pointer)
	// Flags may be InitOnAlloc and InitOnFree, for all sizes.
	Flags Flags
	// Hooks see objects of all sizes.
	Hooks hooks.Hooks
	// Domain provides the grace periods of FreeRCU; nil means DefaultDomain.
	Domain *rcu.Domain
	// RCUSoftLimit, RCUHardLimit and RCUMaxWait are as in Config, for all sizes together.
	RCUSoftLimit, RCUHardLimit int64
	RCUMaxWait                 time.Duration
}

const maxPartitions = 64

// Validate reports every problem of the config at once; each names the buckets and the
// field, and wraps ErrConfig.
func (c BucketsConfig) Validate() error {
	p := problems{of: fmt.Sprintf("buckets %q", c.name()), config: "BucketsConfig"}
	if longest := c.class(0, maxClass).Name; !validName(longest) {
		p.bad("Name", "%q makes caches such as %q: want 1 to %d letters, digits and _-.:/", c.Name, longest, maxName)
	}
	if c.Partitions < 0 || c.Partitions > maxPartitions {
		p.bad("Partitions", "%d is not within 0..%d", c.Partitions, maxPartitions)
	}
	if wrong := c.Flags &^ (InitOnAlloc | InitOnFree); wrong != 0 {
		p.bad("Flags", "%#x is neither InitOnAlloc nor InitOnFree", uint32(wrong))
	}
	c.rcuLimits().validate(p.bad)
	return p.joined()
}

func (c BucketsConfig) name() string {
	if c.Name == "" {
		return "malloc"
	}
	return c.Name
}

// class is the config of one class's cache.
func (c BucketsConfig) class(partition int, size uintptr) Config {
	name := fmt.Sprintf("%s-%d", c.name(), size)
	if c.Partitions > 1 {
		name = fmt.Sprintf("%s-part-%02d-%d", c.name(), partition, size)
	}
	slabs, minPartial := classSlabs(size)
	return Config{Name: name, Size: size, Align: classAlign(size), RCUDtor: c.RCUDtor,
		SheafCapacity: classCapacity(size, sheaves.Growth()), Slabs: slabs, MinPartial: minPartial,
		Flags: c.Flags | NoMerge, Hooks: c.Hooks, Domain: c.Domain,
		RCUSoftLimit: c.RCUSoftLimit, RCUHardLimit: c.RCUHardLimit, RCUMaxWait: c.RCUMaxWait}
}

// NewBuckets makes buckets whose memory comes from a, or from arena.Default if a is
// nil. Errors: as New. (Kernel: kmem_buckets_create.)
func NewBuckets(a *arena.Arena, cfg BucketsConfig) (*Buckets, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if a == nil {
		var err error
		if a, err = arena.Default(); err != nil {
			return nil, err
		}
	}
	if cfg.Domain == nil {
		cfg.Domain = DefaultDomain()
	}
	partitions := max(1, cfg.Partitions)
	n := partitions * numClasses
	backlog := cfg.rcuLimits().newBacklog(a, cfg.Domain, uintptr(n)*maxClass) // a sheaf holds about that much
	b := &Buckets{arena: a, config: cfg, backlog: backlog, partitions: uint(partitions), secret: rand.Uint64()}
	b.large.mine = make(map[uintptr]bool)
	b.rcuQueue.domain, b.rcuQueue.backlog, b.rcuQueue.end = cfg.Domain, backlog.Backlog, b.endLarge
	b.rcuQueue.init(1)
	first, err := caches.span(n + 1)
	if err != nil {
		return nil, err
	}
	b.firstID, b.id = first, first+uint32(n)
	backlog.name, backlog.id = cfg.name, b.id
	row, err := percpu.NewSlotsRow(n)
	if err != nil {
		return nil, fmt.Errorf("slub: buckets %q: %w: %w", cfg.name(), ErrNoMemory, err)
	}
	for i, stacks := range row {
		c, err := newCache(a, cfg.class(i/numClasses, classSizes[i%numClasses]), seat{first + uint32(i), stacks, backlog})
		if err != nil {
			for _, unused := range row[i:] {
				err = errors.Join(err, unused.Forget())
			}
			return nil, errors.Join(err, b.closeCaches(context.Background()))
		}
		b.caches = append(b.caches, c)
	}
	b.malloc.Init(b.mallocSlow)
	b.free.Init(b.freeSlow)
	b.fill(&b.malloc, &b.free)
	return b, nil
}

// fill makes operations choose the caches' stacks: allocations where there is one
// partition. Operations that are wrapped are the caches' own.
func (b *Buckets) fill(malloc *percpu.PopBySize, free *percpu.FreeByOwner) {
	if b.caches[0].wrapped() {
		return
	}
	filters := make([]percpu.Filter, len(b.caches))
	for i, c := range b.caches {
		filters[i] = c.free.Filter
	}
	free.Fill(b.firstID, filters)
	if b.partitions > 1 {
		return
	}
	stacks := func(classes []uint8) (stacks []percpu.Slots) {
		for _, class := range classes[1:] { // those of no bytes
			stacks = append(stacks, b.caches[class].stacks)
		}
		return stacks
	}
	malloc.Fill(percpu.Main, stacks(fineClasses), stacks(coarseClasses))
}

func (b *Buckets) closeCaches(ctx context.Context) error {
	var errs []error
	for _, c := range b.caches {
		errs = append(errs, c.CloseContext(ctx))
	}
	return errors.Join(errs...)
}

// cacheOf returns the cache of these buckets that an address belongs to, or nil.
func (b *Buckets) cacheOf(p unsafe.Pointer) *Cache {
	if i := b.ownerAt(p).id() - b.firstID; i < uint32(len(b.caches)) {
		return b.caches[i]
	}
	return nil
}

// ownerAt returns the owner of an address's page, 0 outside the arena's range.
func (b *Buckets) ownerAt(p unsafe.Pointer) owner {
	if page, ok := b.pageOf(p); ok {
		return owner(b.arena.Owner(page))
	}
	return 0
}

// pageOf returns the page of the arena that p lies in. Buckets that nobody has made have no
// arena; see mallocated.
func (b *Buckets) pageOf(p unsafe.Pointer) (page uint32, ok bool) {
	if b.arena == nil {
		return 0, false
	}
	return b.arena.PageOf(uintptr(p))
}

// Caches returns the caches, the classes of each partition in order of size, for
// statistics; allocating from them is allowed, closing them isn't.
func (b *Buckets) Caches() []*Cache { return append([]*Cache(nil), b.caches...) }

// Barrier returns when everything given to FreeRCU before the call is free. Rules and
// errors as for Cache.Barrier.
func (b *Buckets) Barrier(ctx context.Context) error {
	for _, c := range b.caches {
		if err := c.Barrier(ctx); err != nil {
			return err
		}
	}
	if err := b.rcuQueue.Barrier(ctx); err != nil {
		return fmt.Errorf("slub: buckets %q: %w", b.config.name(), err)
	}
	return nil
}

// Close ends the buckets: it waits for grace periods as Cache.Close does and closes the
// caches. Mallocs return ErrClosed from then on. What is still in use stays, can be
// freed, and is counted in the error, which wraps ErrBusy; Close may then be called
// again.
func (b *Buckets) Close() error { return b.CloseContext(context.Background()) }

// CloseContext is Close as long as ctx lasts; see Cache.CloseContext.
func (b *Buckets) CloseContext(ctx context.Context) error {
	if b == nil {
		return nil
	}
	if err := lockContext(ctx, &b.closing); err != nil {
		return fmt.Errorf("slub: buckets %q: another Close is under way: %w", b.config.name(), err)
	}
	defer b.closing.Unlock()
	if err := b.Barrier(ctx); err != nil {
		return err
	}
	b.closed.Store(true)
	err := b.closeCaches(ctx)
	if e := b.rcuQueue.Close(ctx); e != nil {
		err = errors.Join(err, fmt.Errorf("slub: buckets %q: %w", b.config.name(), e))
	}
	if n := b.large.inUse.Load(); n > 0 {
		err = errors.Join(err, fmt.Errorf("%w: buckets %q: %s larger than %d bytes, %s in all:%s",
			ErrBusy, b.config.name(), text.Objects(n), maxClass, text.Count(b.large.bytes.Load(), "byte", "bytes"), b.listLarge()))
	}
	return err
}
