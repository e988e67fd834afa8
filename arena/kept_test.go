package arena

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
)

// checkMappings checks the states of all mappings, and returns the pages of live and kept ones.
func checkMappings(a *Arena) (used, free int64) {
	a.big.mu.Lock()
	defer a.big.mu.Unlock()
	seen := make(map[*mapping]bool)
	once := func(m *mapping) {
		if seen[m] {
			fail("the mapping at %#x is in two states", m.backing.base)
		}
		seen[m] = true
	}
	for addr, m := range a.big.live {
		once(m)
		if used += m.charged; addr != m.backing.base || int64(m.bytes) > m.charged*mem.PageSize || m.bytes > m.writable {
			fail("live mapping %+v", *m)
		}
	}
	for key, list := range a.big.kept {
		for _, m := range list {
			once(m)
			if free += m.charged; m.charged < 1 || m.key() != key || m.tick > a.big.ticks {
				fail("kept mapping %+v", *m)
			}
		}
		if !slices.IsSortedFunc(list, func(x, y *mapping) int { return int(x.order) - int(y.order) }) {
			fail("%d kept mappings of %+v, or not in the order of frees", len(list), key)
		}
	}
	for _, list := range a.big.clean {
		for _, m := range list {
			if once(m); m.charged != 0 {
				fail("clean mapping %+v", *m)
			}
		}
	}
	if a.big.free != free*mem.PageSize {
		fail("%d pages are kept, the sum says %d bytes", free, a.big.free)
	}
	return used, free
}

// paint makes every page of n bytes at addr not zero.
func paint(addr uintptr, n int64) {
	for at := int64(0); at < n; at += mem.PageSize {
		mem.Bytes(addr, uintptr(n))[at] = 0xa5
	}
}

// firstZero is the number of bytes before the first page of a painted mapping that is zero.
func firstZero(addr uintptr, n int64) (at int64) {
	unpoison(addr, uintptr(n)) // it may be free
	for at < n && mem.Bytes(addr, uintptr(n))[at] != 0 {
		at += mem.PageSize
	}
	return at
}

// again maps n bytes, which must be at addr with that many dirty ones, all others zero.
func again(t *testing.T, a *Arena, n int64, addr uintptr, dirty int64) {
	t.Helper()
	got, gotDirty, err := a.Map(n, 0)
	if err != nil || got != addr || gotDirty != dirty {
		t.Fatalf("%#x with %d dirty bytes, %v, want %#x with %d", got, gotDirty, err, addr, dirty)
	}
	for at := dirty; at < n; at += mem.PageSize {
		if mem.Bytes(addr, uintptr(n))[at] != 0 {
			t.Fatalf("byte %d of %d isn't zero, %d are dirty", at, n, dirty)
		}
	}
}

func expectKept(t *testing.T, a *Arena, mappedBytes, free int64) {
	t.Helper()
	check(a)
	charged, dirty := a.ledger.load()
	s := a.Stats()
	if s.Mapped != mappedBytes || s.MappedFree != free || dirty*mem.PageSize != free || charged*mem.PageSize != mappedBytes+free {
		t.Fatalf("%d bytes mapped, %d kept; %d pages charged, %d dirty; want %d, %d",
			s.Mapped, s.MappedFree, charged, dirty, mappedBytes, free)
	}
}

// A freed mapping has its pages when it is used again, counts as free meanwhile, and Purge gives it
// back from its end.
func TestFreedMappingIsKept(t *testing.T) {
	a := open(t, Config{MaxDirty: Unlimited})
	const n = 2*maxRun + 3*mem.PageSize
	addr := mapped(t, a, n)
	paint(addr, n)
	a.Unmap(addr)
	expectKept(t, a, 0, n)
	if a.Mapping(addr) != 0 || a.Unmap(addr) {
		t.Error("a freed mapping is live")
	}
	again(t, a, n, addr, n)
	expectKept(t, a, n, 0)
	a.Unmap(addr)
	for _, want := range []int64{3 * mem.PageSize, maxRun} {
		if got := a.Purge(1); got != want {
			t.Errorf("Purge(1) released %d bytes, want %d", got, want)
		}
	}
	expectKept(t, a, 0, maxRun)
	again(t, a, n, addr, maxRun)
	expectKept(t, a, n, 0)
	a.Unmap(addr)
	if got := a.Purge(0); got != n {
		t.Errorf("Purge released %d bytes", got)
	}
	expectKept(t, a, 0, 0)
	again(t, a, n, addr, 0)
	a.Unmap(addr)
}

// A mapping that is used again has the pages that are needed: others are charged, or discarded.
func TestKeptMappingOfOtherSize(t *testing.T) {
	a := open(t, Config{MaxDirty: Unlimited})
	const n = maxRun + maxRun/2
	addr := mapped(t, a, n)
	paint(addr, n)
	a.Unmap(addr)
	again(t, a, 2*maxRun, addr, n)
	expectKept(t, a, 2*maxRun, 0)
	paint(addr, 2*maxRun)
	a.Unmap(addr)
	again(t, a, n, addr, n)
	expectKept(t, a, n, 0)
	a.Unmap(addr)
	again(t, a, 2*maxRun, addr, n) // what was discarded reads zero
	a.Unmap(addr)
	if other := mapped(t, a, 2*maxRun+1); other == addr {
		t.Error("a mapping of another class has the addresses")
	} else {
		a.Unmap(other)
	}
}

// Of several kept mappings the one of the right size is taken, without a discard; if there is none,
// the one freed last.
func TestKeptMappingThatFits(t *testing.T) {
	a := open(t, Config{MaxDirty: Unlimited})
	sizes := []int64{2 * maxRun, maxRun + 2*mem.PageSize, maxRun + mem.PageSize}
	var addrs []uintptr
	for _, n := range sizes {
		addrs = append(addrs, mapped(t, a, n))
	}
	for i, n := range sizes {
		paint(addrs[i], n)
		a.Unmap(addrs[i])
	}
	for i, n := range sizes {
		again(t, a, n, addrs[i], n)
		a.Unmap(addrs[i])
	}
	again(t, a, maxRun+3*mem.PageSize, addrs[2], sizes[2])
	a.Unmap(addrs[2])
}

// The pages of a mapping are on its node: a request for another node gets other ones.
func TestKeptMappingOfOtherNode(t *testing.T) {
	a := open(t, Config{Topology: nodes(t, 0, 1), MaxDirty: Unlimited})
	addr := mapped(t, a, 2*maxRun)
	a.Unmap(addr)
	other, dirty, err := a.Map(2*maxRun, 1)
	if err != nil || other == addr || dirty != 0 {
		t.Errorf("node 1 has %#x, %d dirty bytes, %v; node 0 %#x", other, dirty, err, addr)
	}
	a.Unmap(other)
	expectKept(t, a, 0, 4*maxRun)
	again(t, a, 2*maxRun, addr, 2*maxRun)
	a.Unmap(addr)
}

// MaxDirty bounds kept mappings and freed runs together. Of mappings the ends of those freed first
// go, and only as much as exceeds it.
func TestKeptMappingsBounded(t *testing.T) {
	a := open(t, Config{MaxDirty: 3 * maxRun})
	first, second := mapped(t, a, 2*maxRun), mapped(t, a, 2*maxRun)
	paint(first, 2*maxRun)
	paint(second, 2*maxRun)
	a.Unmap(first)
	a.Unmap(second)
	expectKept(t, a, 0, 3*maxRun)
	again(t, a, 2*maxRun, second, 2*maxRun)
	again(t, a, 2*maxRun, first, maxRun)
	a.Unmap(first)
	a.Free(alloc(t, a, MaxOrder, 0).Page)
	expectDirty(t, a, 3*maxRun)
	a.Unmap(second)
	expectDirty(t, a, 3*maxRun)
	if n := a.Stats().MappedFree; n != 2*maxRun {
		t.Errorf("%d bytes of mappings are kept beside a run", n)
	}
}

func expectDirty(t *testing.T, a *Arena, want int64) {
	t.Helper()
	check(a)
	if _, dirty := a.ledger.load(); dirty*mem.PageSize != want {
		t.Errorf("%d bytes are dirty, want %d", dirty*mem.PageSize, want)
	}
}

// A mapping that comes and goes lost its pages each time when runs that nothing needed took all of
// MaxDirty. Of mappings and runs those give up pages that have more.
func TestKeptMappingBesideIdleRuns(t *testing.T) {
	const size = 8 * mib
	a := open(t, Config{Span: 64 * mib, MaxDirty: 3 * size, Decay: None})
	var runs []Run
	for range 3 * size / maxRun {
		runs = append(runs, alloc(t, a, MaxOrder, 0))
	}
	for _, run := range runs {
		a.Free(run.Page)
	}
	for i := range 5 {
		addr, dirty, err := a.Map(size, 0)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 && dirty != size {
			t.Errorf("round %d: %d of %d bytes are reused beside runs that nothing needs", i, dirty, size)
		}
		a.Unmap(addr)
	}
	// The other way round: mappings that take all of it leave half to runs.
	var mappings []uintptr
	for range 3 {
		mappings = append(mappings, mapped(t, a, size))
	}
	for _, addr := range mappings {
		a.Unmap(addr)
	}
	a.Free(alloc(t, a, MaxOrder, 0).Page)
	if s := a.Stats(); s.Nodes[0].Free < maxRun {
		t.Errorf("%d bytes of runs are kept beside mappings", s.Nodes[0].Free)
	}
}

// What is kept makes way before a run or a mapping is refused, and no more than that.
func TestKeptMappingMakesRoom(t *testing.T) {
	a := open(t, Config{Limit: 4 * maxRun, MaxDirty: Unlimited})
	addr := mapped(t, a, 4*maxRun)
	a.Unmap(addr)
	run := alloc(t, a, 0, 0)
	if n := a.Stats().MappedFree; n != 3*maxRun {
		t.Errorf("%d bytes are kept beside a page", n)
	}
	if _, _, err := a.Map(4*maxRun, 0); !errors.Is(err, ErrLimit) {
		t.Errorf("beyond the limit: %v", err)
	}
	a.Free(run.Page)
	other := mapped(t, a, 3*maxRun) // another class
	a.Unmap(other)
	again(t, a, 4*maxRun, addr, 0) // what was freed first made way
	expectKept(t, a, 4*maxRun, 0)
	a.Unmap(addr)
	again(t, a, 4*maxRun, addr, 4*maxRun) // the limit has room for no other
	a.Unmap(addr)
	a.SetLimit(maxRun)
	expectKept(t, a, 0, maxRun)
}

// A Map that the limit refuses leaves the kept mapping as it was.
func TestRefusedMapLeavesKept(t *testing.T) {
	a := open(t, Config{Limit: 3 * maxRun, MaxDirty: Unlimited})
	run := alloc(t, a, MaxOrder, 0)
	const n = maxRun + maxRun/2
	addr := mapped(t, a, n)
	a.Unmap(addr)
	more := alloc(t, a, MaxOrder-1, 0)
	if _, _, err := a.Map(2*maxRun, 0); !errors.Is(err, ErrLimit) {
		t.Errorf("beyond the limit: %v", err)
	}
	expectDirty(t, a, n)
	again(t, a, n, addr, n)
	a.Unmap(addr)
	a.Free(more.Page)
	a.Free(run.Page)
}

// One mapping that the kernel would not discard doesn't keep others and runs from being discarded.
func TestUndiscardableMapping(t *testing.T) {
	a := open(t, Config{MaxDirty: Unlimited})
	first, second := mapped(t, a, maxRun), mapped(t, a, maxRun)
	a.Unmap(first)
	a.Unmap(second)
	a.Free(alloc(t, a, 3, 0).Page)
	if heapBacked {
		return // the kernel isn't asked
	}
	undo := sys.FailNth(sys.CallDiscard, 1, errors.New("locked"))
	released, err := a.discardForTest()
	undo()
	if released != 8*mem.PageSize || err != nil {
		t.Errorf("%d bytes discarded, %v: not the run", released, err)
	}
	expectKept(t, a, 0, 2*maxRun)
	if a.Purge(1); a.Stats().MappedFree != maxRun {
		t.Error("not one mapping is discarded")
	}
	again(t, a, maxRun, first, maxRun) // the other one went, as this one was refused
	a.Unmap(first)
	if a.Stats().DiscardFailures != 1 {
		t.Errorf("%d refusals were counted", a.Stats().DiscardFailures)
	}
}

func (a *Arena) discardForTest() (int64, error) {
	a.purging.Lock()
	defer a.purging.Unlock()
	return a.discardLargest(nil)
}

// A mapping that is too long may be taken by another Map before its end is discarded: then nothing
// of it is.
func TestTooLongMappingIsTaken(t *testing.T) {
	a := open(t, Config{MaxDirty: Unlimited})
	addr := mapped(t, a, 2*maxRun)
	paint(addr, 2*maxRun)
	a.Unmap(addr)
	m, _, err := a.reuse(keptKey{2 * maxRun, 0}, 1500, false)
	if m == nil || err != errTooLong {
		t.Fatalf("%v, %v", m, err)
	}
	again(t, a, 2*maxRun, addr, 2*maxRun)
	a.purging.Lock()
	err = a.shorten(m, m.key(), 1500)
	a.purging.Unlock()
	if n := firstZero(addr, 2*maxRun); n != 2*maxRun || err != nil {
		t.Errorf("byte %d of a mapping in use is zero, %v", n, err)
	}
	expectKept(t, a, 2*maxRun, 0)
	a.Unmap(addr)
}

// With Config.Lock a mapping is only kept if the kernel would not discard it, and no attempt is
// made to discard it then.
func TestKeptMappingOfLockedArena(t *testing.T) {
	a := open(t, Config{MaxDirty: Unlimited, Limit: 2 * maxRun})
	addr := mapped(t, a, 2*maxRun)
	a.Unmap(addr)
	a.cfg.Lock = true // as after a refusal, but without a limit on locked memory
	if n := a.Purge(0); n != 0 {
		t.Errorf("Purge released %d locked bytes", n)
	}
	if _, err := a.Alloc(0, 0); !errors.Is(err, ErrLimit) {
		t.Errorf("with locked pages at the limit: %v", err)
	}
	a.cfg.Lock = false
	again(t, a, 2*maxRun, addr, 2*maxRun)
	a.Unmap(addr)
}

// Kept mappings that nothing needs are given back after Decay; one that comes and goes stays.
func TestKeptMappingsDecay(t *testing.T) {
	bubble(t, Config{ReleaseRate: Unlimited}, func(t *testing.T, a *Arena) {
		idle, used := mapped(t, a, 2*maxRun), mapped(t, a, 2*maxRun)
		a.Unmap(idle)
		a.Unmap(used)
		for range 2 * ticks {
			again(t, a, 2*maxRun, used, 2*maxRun)
			a.Unmap(used)
			if a.Stats().Decayed == 0 && a.Stats().MappedFree != 4*maxRun {
				t.Fatal("a mapping went before it was given back as idle")
			}
			sleep(testDecay / ticks)
		}
		if s := a.Stats(); s.MappedFree != 2*maxRun || s.Decayed != 2*maxRun {
			t.Errorf("%d bytes are kept of a mapping of %d that is needed, %d given back", s.MappedFree, 2*maxRun, s.Decayed)
		}
		sleep(testDecay - testDecay/ticks - justAfter)
		if n := a.Stats().MappedFree; n != 2*maxRun {
			t.Errorf("%d bytes are left before the mapping was idle long enough", n)
		}
		sleep(testDecay/ticks + 2*justAfter)
		expectKept(t, a, 0, 0)
		if a.decay.timer.Stop() {
			t.Error("the timer runs though nothing is dirty")
		}
	})
}

// Close gives kept mappings back: their memory reads zero, and later arenas have the addresses.
func TestCloseGivesKeptMappings(t *testing.T) {
	forgetRanges(t)
	a := open(t, Config{MaxDirty: Unlimited})
	addr := mapped(t, a, 2*maxRun)
	paint(addr, 2*maxRun)
	a.Unmap(addr)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if firstZero(addr, 2*maxRun) != 0 {
		t.Error("a closed arena's mapping isn't zero")
	}
	expectKept(t, a, 0, 0)
	b := open(t, Config{MaxDirty: Unlimited})
	again(t, b, 2*maxRun, addr, 0)
	b.Unmap(addr)
}

// keptStress is what the goroutines of a test share.
type keptStress struct {
	*testing.T
	arena *Arena
	most  int64
}

// worker maps and unmaps at random, up to three mappings at a time, and allocates runs in between.
// Nothing but its own bytes may be in its memory.
func (s *keptStress) worker(id byte, ops int, rng *rand.Rand) {
	type owned struct {
		addr uintptr
		n    int64
	}
	var live []owned
	unmap := func() {
		m := live[0]
		live = live[1:]
		bytes := mem.Bytes(m.addr, uintptr(m.n))
		for at := int64(0); at < m.n; at += mem.PageSize {
			if bytes[at] != id {
				s.Errorf("byte %d of %d is %d, not %d", at, m.n, bytes[at], id)
				break
			}
		}
		if s.arena.Mapping(m.addr) < m.n || !s.arena.Unmap(m.addr) {
			s.Error("a mapping is lost")
		}
	}
	for range ops {
		if len(live) == 3 || len(live) > 0 && rng.IntN(2) == 0 {
			unmap()
		}
		n := 1 + rng.Int64N(s.most)
		addr, dirty, err := s.arena.Map(n, s.arena.Topology().Nodes()[rng.IntN(2)])
		if err != nil {
			if !errors.Is(err, ErrLimit) {
				s.Error(err)
			}
			continue
		}
		bytes := mem.Bytes(addr, uintptr(n))
		for at := dirty; at < n; at += mem.PageSize {
			if bytes[at] != 0 {
				s.Errorf("byte %d of %d isn't zero, %d are dirty", at, n, dirty)
				break
			}
		}
		for at := int64(0); at < n; at += mem.PageSize {
			bytes[at] = id
		}
		live = append(live, owned{addr, n})
		if run, err := s.arena.AllocPages(1+rng.IntN(64), rng.IntN(2)); err == nil {
			s.arena.Free(run.Page)
		}
	}
	for len(live) > 0 {
		unmap()
	}
}

// Mappings of several goroutines come and go at the limit while others purge, let time pass and
// change the limit. None meets another's bytes, and the ledger is right afterwards.
func TestKeptStress(t *testing.T) {
	const limit = 5 * maxRun
	a := open(t, Config{Topology: nodes(t, 0, 1), Limit: limit, MaxDirty: 3 * maxRun, Decay: 8 * time.Millisecond, Strictness: 2})
	s := &keptStress{T: t, arena: a, most: 2 * maxRun}
	seed, ops := testutil.Seed(t), testutil.Stress(t, 600)/3
	if heapBacked {
		ops /= 20 // each discard clears, and tells the detector of each word
	}
	var work, beside sync.WaitGroup
	var done atomic.Bool
	for id := range byte(3) {
		work.Go(func() { s.worker(id+1, ops, rand.New(rand.NewPCG(seed, uint64(id)))) })
	}
	beside.Go(func() {
		for i := 0; !done.Load(); i++ {
			a.Purge(int64(i%3) * maxRun)
			a.SetLimit(limit - int64(i%2)*maxRun)
			if charged, dirty := a.ledger.load(); charged*mem.PageSize > limit || dirty > charged {
				t.Errorf("%d pages charged, %d dirty, limit %d bytes", charged, dirty, limit)
			}
			a.tick()
			time.Sleep(100 * time.Microsecond)
		}
	})
	work.Wait()
	done.Store(true)
	beside.Wait()
	check(a)
	if a.Purge(0); a.Stats().MappedFree != 0 {
		t.Error("mappings are kept")
	}
	expectDirty(t, a, 0)
	for charged, _ := a.ledger.load(); charged != 0; {
		t.Fatalf("%d pages are charged", charged)
	}
}
