package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub/rcumap"
)

// evictable makes a server with a limit, and the slubd store that it has.
func evictable(t *testing.T, limit int64) (*server, *slubdStore) {
	s := newTestServer(t, options{store: "slubd", limit: limit, maxRequest: 64 << 20})
	return s, s.store.(*slubdStore)
}

// setAll sets values of the given sizes until their sum is reached. None may fail.
func setAll(t *testing.T, c *client, prefix string, bytes int64, size func() int) {
	t.Helper()
	for i := 0; bytes > 0; i++ {
		n := size()
		if got := c.do(fmt.Sprintf("SET %s:%d %s", prefix, i, strings.Repeat("v", n))); got != "+OK" {
			t.Errorf("%s:%d: %s", prefix, i, got)
			return
		}
		if i%1024 == 0 {
			if m := c.server.store.memory(); m.limit > 0 && m.used > m.limit {
				t.Errorf("%d bytes are used, the limit is %d", m.used, m.limit)
			}
		}
		bytes -= int64(n)
	}
}

// TestWritingBeyondTheLimit has several clients write ten times the limit. No write fails, and the
// store never takes more than the limit.
func TestWritingBeyondTheLimit(t *testing.T) {
	const limit, clients = 4 << 20, 4
	s, st := evictable(t, limit)
	seed := testutil.Seed(t)
	var writing sync.WaitGroup
	for w := range clients {
		writing.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(w)))
			setAll(t, newTestClient(s), fmt.Sprint("w", w), 10*limit/clients, func() int { return 1 + random.IntN(4096) })
		})
	}
	writing.Wait()
	m := st.memory()
	if m.evicted == 0 || st.len() == 0 || m.data < limit/4 {
		t.Errorf("%d keys were evicted, %d are left, of %d bytes", m.evicted, st.len(), m.data)
	}
}

// TestSizesChange fills the store with small values, then with large ones, then with small ones
// again: the memory of one size must become that of another.
func TestSizesChange(t *testing.T) {
	const limit = 4 << 20
	s, _ := evictable(t, limit)
	c := newTestClient(s)
	for i, size := range []int{400, 20_000, 1 << 20, 400} {
		setAll(t, c, fmt.Sprint("size", i), 2*limit, func() int { return size })
	}
}

// TestFragmentedMemory deletes most values of all sizes in random order, so that nearly every slab
// has a few left, and then has several clients write values of one size, then of another. The free
// objects in those slabs are of no use to them: what keeps the slabs must leave. No client's
// write may fail, and the limit holds.
func TestFragmentedMemory(t *testing.T) {
	const limit, clients = 4 << 20, 4
	s, st := evictable(t, limit)
	random := rand.New(rand.NewPCG(testutil.Seed(t), 0))
	c := newTestClient(s)
	for round, size := range []int{3000, 400, 30_000} {
		keys := 0
		for bytes := 0; bytes < limit*3/4; keys++ {
			n := 50 + random.IntN(4000)
			bytes += n
			if got := c.do(fmt.Sprintf("SET mixed:%d %s", keys, strings.Repeat("v", n))); got != "+OK" {
				t.Fatal(got)
			}
		}
		for _, i := range random.Perm(keys)[:keys*15/16] {
			c.do(fmt.Sprintf("DEL mixed:%d", i))
		}
		var writing sync.WaitGroup
		for w := range clients {
			writing.Go(func() {
				setAll(t, newTestClient(s), fmt.Sprint("r", round, "w", w), limit/4, func() int { return size })
			})
		}
		writing.Wait()
		if m := st.memory(); m.used > limit || m.data < limit/4 {
			t.Errorf("after values of %d bytes: %d bytes in %d keys, %d used, the limit is %d", size, m.data, st.len(), m.used, limit)
		}
	}
}

// TestHotKeysStay reads some keys again and again while others are written that are never read, far
// beyond the limit. Most of those that are read must stay.
func TestHotKeysStay(t *testing.T) {
	const limit, hot = 4 << 20, 50
	s, st := evictable(t, limit)
	c := newTestClient(s)
	for i := range hot {
		c.do(fmt.Sprintf("SET hot:%d v", i))
	}
	for round := range 100 {
		setAll(t, c, fmt.Sprint("cold", round), 5*limit/100, func() int { return 2000 })
		for i := range hot {
			c.do(fmt.Sprintf("GET hot:%d", i))
		}
	}
	left := 0
	for i := range hot {
		if c.do(fmt.Sprintf("EXISTS hot:%d", i)) == ":1" {
			left++
		}
	}
	if left < hot/2 {
		t.Errorf("%d of %d keys that were read are left, and %d others", left, hot, st.len()-left)
	}
}

// TestHandLowersUses has entries that were all read often. One of them leaves, and the hand lowers
// the counters of those that it passes, so that they don't count as used for ever.
func TestHandLowersUses(t *testing.T) {
	s, st := evictable(t, 0)
	c := newTestClient(s)
	const keys = 100
	for i := range keys {
		c.do(fmt.Sprintf("SET key:%d v", i))
		for range 2 * maxUses {
			c.do(fmt.Sprintf("GET key:%d", i))
		}
	}
	uses := func() (sum uint64) {
		section := st.domain.Enter()
		defer section.Exit()
		st.entries.Scan(0, 2*keys, func(i rcumap.Item) { sum += i.Word().Load() & maxUses })
		return sum
	}
	if n := uses(); n != keys*maxUses {
		t.Errorf("%d entries have %d uses", keys, n)
	}
	st.evict.mu.Lock()
	freed := st.evict.free(1, 1<<20)
	st.evict.mu.Unlock()
	left := st.len()
	if freed < 1 || left != keys-int(freed) {
		t.Errorf("%d entries left, %d stay", freed, left)
	}
	if n := uses(); n > uint64(left*maxUses-sampled) {
		t.Errorf("%d entries have %d uses after the hand has passed some", left, n)
	}
}

func TestLimitIsLowered(t *testing.T) {
	s, st := evictable(t, 0)
	c := newTestClient(s)
	setAll(t, c, "key", 8<<20, func() int { return 1000 })
	before := st.len()
	if got := c.do("CONFIG SET maxmemory 3mb"); got != "+OK" {
		t.Fatal(got)
	}
	if m := st.memory(); m.used > 3<<20 || m.limit != 3<<20 || st.len() >= before {
		t.Errorf("%+v, %d keys of %d", m, st.len(), before)
	}
	setAll(t, c, "more", 4<<20, func() int { return 1000 })
}

// TestTooLargeForTheLimit sets a value that nothing could make room for: it is refused and nothing
// is evicted.
func TestTooLargeForTheLimit(t *testing.T) {
	s, st := evictable(t, 2<<20)
	c := newTestClient(s)
	c.do("SET a 1")
	if got := c.do("SET b " + strings.Repeat("v", 3<<19)); !strings.HasPrefix(got, "-OOM ") {
		t.Errorf("%.100s", got)
	}
	if got := c.do("GET a"); got != "$1 1" || st.memory().evicted != 0 {
		t.Errorf("%s, %d keys were evicted", got, st.memory().evicted)
	}
}

// TestTinyLimit has a limit below a page, at which the arena does not ask for entries. A write must
// evict them itself, and be refused in the end rather than wait for ever.
func TestTinyLimit(t *testing.T) {
	s, st := evictable(t, 0)
	c := newTestClient(s)
	c.do("SET a 1")
	st.arena.SetLimit(1000)
	if got := c.do("SET b " + strings.Repeat("v", 400)); !strings.HasPrefix(got, "-OOM ") || st.len() != 0 {
		t.Errorf("%s, %d keys are left", got, st.len())
	}
	c.do("CONFIG SET maxmemory 100mb")
	if got := c.do("SET a 1"); got != "+OK" {
		t.Errorf("with memory again: %s", got)
	}
}

// TestFlushReturnsMemory fills the store and deletes everything: what is left is the table.
func TestFlushReturnsMemory(t *testing.T) {
	s, st := evictable(t, 64<<20)
	c := newTestClient(s)
	empty := st.entries.Memory().Stats().Objects
	setAll(t, c, "key", 8<<20, func() int { return 1000 })
	c.do("FLUSHALL")
	levels := uint64(0)
	for slots := st.entries.Slots(); slots > 1024; slots /= 2 {
		levels++
	}
	if n := st.entries.Memory().Stats().Objects; n != empty+levels {
		t.Errorf("%d objects are left, beside %d of the table", n, empty+levels)
	}
	if m := st.memory(); m.used > 2<<20 {
		t.Errorf("%d bytes are still used", m.used)
	}
}

// TestNoLimitOffersNothing checks that a store without a limit offers no key to a machine that is
// short of memory, and one with a limit offers all.
func TestNoLimitOffersNothing(t *testing.T) {
	s := newTestServer(t, options{store: "slubd"})
	c, st := newTestClient(s), s.store.(*slubdStore)
	c.do("SET k v")
	if n := st.evict.offered(); n != 0 {
		t.Errorf("without a limit %d keys are offered", n)
	}
	c.do("CONFIG SET maxmemory 100mb")
	if n := st.evict.offered(); n != 1 {
		t.Errorf("with a limit %d keys are offered, want 1", n)
	}
}
