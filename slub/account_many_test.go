package slub

import (
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/testutil"
)

// many is how many Accounts a test makes.
func many() int {
	if checked || testutil.Instrumented || testing.Short() {
		return 20_000
	}
	return 1_000_000
}

// A million Accounts that are closed leave nothing: no number, no memory of Go's or the arena's,
// and no member of their Group.
func TestManyAccountsClosed(t *testing.T) {
	withoutSamples(t) // a pool of guards takes more than the test allows
	b := openBuckets(t, newArena(t, arena.Config{}), BucketsConfig{})
	g := newGroup(t, GroupConfig{})
	request := func() {
		a, err := b.NewAccount(AccountConfig{Parent: g, Limit: 4096})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Malloc(300); err != nil {
			t.Fatal(err)
		}
		a.Close()
	}
	request()
	before, caches, live := b.arena.InUse(), len(b.Caches()), heapLive()
	numbers, chunks := accounts.used()
	for range many() {
		request()
	}
	n, c := accounts.used()
	if n != numbers || c > chunks+1 || len(b.Caches()) != caches {
		t.Errorf("%d numbers in %d chunks are in use, %d in %d before; %d caches, %d before", n, c, numbers, chunks, len(b.Caches()), caches)
	}
	if got := b.arena.InUse(); got > before+1<<20 {
		t.Errorf("%d bytes of the arena are in use, %d before", got, before)
	}
	if got := heapLive(); got > live+1<<20 {
		t.Errorf("%d bytes of Go memory are live, %d before", got, live)
	}
	if s := g.Stats(); s.Bytes != 0 || s.Accounts != 0 {
		t.Errorf("%+v", s)
	}
}

// Accounts that are all open at once, and that are lost and not closed, leave nothing when their
// objects are free and a collection has found them.
func TestManyAccountsLost(t *testing.T) {
	b := openBuckets(t, newArena(t, arena.Config{}), BucketsConfig{})
	g := newGroup(t, GroupConfig{})
	numbers, chunks := accounts.used()
	n := many() / 10
	var objs []unsafe.Pointer
	func() {
		var open []*Account
		for range n {
			a, err := b.NewAccount(AccountConfig{Parent: g})
			if err != nil {
				t.Fatal(err)
			}
			p, err := a.Malloc(8)
			if err != nil {
				t.Fatal(err)
			}
			open, objs = append(open, a), append(objs, p)
		}
		if used, c := accounts.used(); used != numbers+n || c < n>>chunkBits {
			t.Errorf("%d numbers in %d chunks are in use, want %d", used, c, numbers+n)
		}
		runtime.KeepAlive(open)
	}()
	for i, p := range objs[:n/2] { // the others are free after the Account was lost
		if i%2 == 0 {
			b.Free(p)
		} else {
			b.FreeRCU(p)
		}
	}
	runtime.GC()
	b.FreeBulk(objs[n/2:])
	same(t, "Barrier", b.Barrier(t.Context()), nil)
	within(t, "all numbers back", func() bool {
		runtime.GC()
		used, c := accounts.used()
		return used == numbers && c <= chunks+1
	})
	if s := g.Stats(); s.Bytes != 0 || s.Accounts != 0 {
		t.Errorf("%+v", s)
	}
}

// Numbers are unique while in use, 0 is none of them, and they are used again.
func TestAccountNumbers(t *testing.T) {
	var table accountTable
	states := make(map[uint32]*accountState)
	for range 3 * (1 << chunkBits) {
		s := new(accountState)
		n, err := table.add(s)
		if err != nil || n == 0 || states[n] != nil {
			t.Fatalf("number %d: %v, has %p", n, err, states[n])
		}
		states[n] = s
	}
	next := table.next
	var order []uint32
	for n := range states {
		order = append(order, n)
	}
	for range 3 {
		for _, n := range order[:len(order)/2] {
			if table.at(n) != states[n] {
				t.Errorf("number %d is of another Account", n)
			}
			table.remove(n)
			delete(states, n)
		}
		for range len(order) / 2 {
			s := new(accountState)
			n, err := table.add(s)
			if err != nil || n == 0 || states[n] != nil {
				t.Fatalf("number %d: %v, has %p", n, err, states[n])
			}
			states[n] = s
			order = append(order, n)
		}
		order = order[len(order)/3:]
	}
	if table.next > next {
		t.Errorf("%d chunks were made, %d suffice", table.next, next)
	}
	for n := range states {
		table.remove(n)
	}
	if used, chunks := table.used(); used != 0 || chunks != 1 || len(table.partial) != 1 {
		t.Errorf("%d numbers in %d chunks are in use at the end, %d with a free one", used, chunks, len(table.partial))
	}
}

// used returns how many numbers are in use, and how many chunks there are.
func (t *accountTable) used() (numbers, chunks int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.chunks {
		if t.chunks[i].Load() != nil {
			chunks++
		}
	}
	return t.count, chunks
}

// heapLive returns the bytes of Go memory that are live.
func heapLive() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what cleanups refer to
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// An Account whose objects others free finds its slots again, instead of making more.
func TestAccountSlotsAreFoundAgain(t *testing.T) {
	b := openBuckets(t, newArena(t, arena.Config{}), BucketsConfig{})
	a, err := b.NewAccount(AccountConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	const held = 100
	var objs []unsafe.Pointer
	for i := range 20_000 {
		p, err := a.Malloc(16)
		if err != nil {
			t.Fatal(err)
		}
		if objs = append(objs, p); len(objs) > held {
			b.Free(objs[0])
			objs = slices.Delete(objs, 0, 1)
		}
		if n := len(a.state.slots); n > 4*held {
			t.Fatalf("%d slots after %d allocations, %d objects", n, i+1, len(objs))
		}
	}
	for range 4 * keptSlots {
		if _, err := a.Malloc(16); err != nil {
			t.Fatal(err)
		}
	}
	a.Reset()
	if n := len(a.state.slots); a.Usage() != 0 || n > keptSlots {
		t.Errorf("%d bytes are charged after Reset, and there are %d slots", a.Usage(), n)
	}
}

// An object that is in use and in a sheaf, as after a second free that was not seen, is reported
// and not handed out.
func TestAccountLeavesObjectsInUse(t *testing.T) {
	withoutSamples(t) // it frees objects twice
	if sanitized || Hardened() {
		t.Skip("the caches' own functions allocate in this build")
	}
	var reports []hooks.Kind
	b := openBuckets(t, newArena(t, arena.Config{}), BucketsConfig{Hooks: hooks.Hooks{Report: func(r *hooks.Report) {
		reports = append(reports, r.Kind)
	}}})
	a, err := b.NewAccount(AccountConfig{})
	same(t, "NewAccount", err, nil)
	defer a.Close()
	pinned(t, 0, func() {
		p, err := a.Malloc(64)
		same(t, "Malloc", err, nil)
		a.state.set.classAt(p).push(p)
		q, err := a.Malloc(64)
		same(t, "Malloc", err, nil)
		if q == p || len(reports) != 1 || a.Usage() != 128 {
			t.Errorf("%v and %v are in use, %d bytes are charged, reported is %v", p, q, a.Usage(), reports)
		}
	})
}

// The goroutine that frees the bytes of a step may come to move them when the Account has ended.
// Then it moves nothing.
func TestAccountEndsMeanwhile(t *testing.T) {
	b := openBuckets(t, newArena(t, arena.Config{}), BucketsConfig{})
	g := newGroup(t, GroupConfig{})
	a, err := b.NewAccount(AccountConfig{Parent: g})
	same(t, "NewAccount", err, nil)
	p, err := a.Malloc(64)
	same(t, "Malloc", err, nil)
	a.cleanup.Stop()
	a.state.end() // as the cleanup of a lost Account
	a.state.giveFreed()
	if s := g.Stats(); a.Usage() != 64 || s.Bytes != 64 || s.Accounts != 1 {
		t.Errorf("%d bytes are charged, %+v", a.Usage(), s)
	}
	b.Free(p)
	if s := g.Stats(); a.Usage() != 0 || s.Bytes != 0 || s.Accounts != 0 {
		t.Errorf("%d bytes are charged at the end, %+v", a.Usage(), s)
	}
	runtime.KeepAlive(a)
}

// An operation keeps its Account alive until it has returned, also if it is the last one: a
// collection meanwhile doesn't find it lost.
func TestAccountLivesDuringOperations(t *testing.T) {
	var state *accountState // of the operation that is under way
	calls, ended := 0, false
	look := func() {
		if state != nil {
			collect()
			calls++
			ended = ended || state.closed
		}
	}
	b := openBuckets(t, newArena(t, arena.Config{}), BucketsConfig{Hooks: hooks.Hooks{
		Alloc: func(hooks.Object) { look() },
		Free:  func(hooks.Object) bool { look(); return false },
	}})
	for name, last := range map[string]func(*Account, unsafe.Pointer){
		"Malloc": func(a *Account, _ unsafe.Pointer) { _, _ = a.Malloc(100) },
		"Free":   func(a *Account, p unsafe.Pointer) { a.Free(p) },
		"Reset":  func(a *Account, _ unsafe.Pointer) { a.Reset() },
	} {
		calls, ended = 0, false
		func() {
			a, err := b.NewAccount(AccountConfig{})
			same(t, "NewAccount", err, nil)
			p, err := a.Malloc(100)
			same(t, "Malloc", err, nil)
			state = a.state
			last(a, p)
		}()
		state = nil
		if calls != 1 || ended {
			t.Errorf("%s: %d collections; the Account has ended: %t", name, calls, ended)
		}
		for c := range b.all() {
			freeLive(c)
		}
	}
}

// TestAccountCloseEndsOnce: an Account of which nothing is left but its Close is not found lost as
// well: its number would go back twice.
func TestAccountCloseEndsOnce(t *testing.T) {
	b := openBuckets(t, newArena(t, arena.Config{}), BucketsConfig{})
	collect()
	before, _ := accounts.used()
	for range 3 {
		func() {
			a, err := b.NewAccount(AccountConfig{})
			same(t, "NewAccount", err, nil)
			p, err := a.Malloc(100)
			same(t, "Malloc", err, nil)
			a.Free(p)
			a.Close()
		}()
	}
	if after, _ := accounts.used(); after != before {
		t.Errorf("%d numbers in use, %d before", after, before)
	}
}

// TestAccountSetLimitAtOnce: an Account without a Parent whose limit is raised has room for all of
// it at once, so that Malloc takes the short path. SetLimit keeps the Account alive.
func TestAccountSetLimitAtOnce(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it would be found lost when SetLimit is over
	b := openBuckets(t, newArena(t, arena.Config{}), BucketsConfig{})
	var state *accountState
	func() {
		a, err := b.NewAccount(AccountConfig{Limit: 1000})
		same(t, "NewAccount", err, nil)
		p, err := a.Malloc(64)
		same(t, "Malloc", err, nil)
		b.Free(p)
		state = a.state
		a.SetLimit(5000)
	}()
	if state.closed || state.room != 5000-64 || state.usage() != 0 {
		t.Errorf("ended: %v; room for %d bytes, %d charged", state.closed, state.room, state.usage())
	}
}

// collect returns when a collection has run and, most likely, the cleanups of what it has found.
func collect() {
	for range 2 {
		done := make(chan bool)
		runtime.AddCleanup(new([8]unsafe.Pointer), func(done chan bool) { close(done) }, done)
		runtime.GC()
		<-done
	}
}

// Another goroutine frees the objects of an Account while Reset does, which is a mistake of the
// caller's. Each object is freed once, and each second free is reported or does nothing.
func TestAccountResetMeetsFrees(t *testing.T) {
	b := openBuckets(t, newArena(t, arena.Config{}), BucketsConfig{Hooks: hooks.Hooks{Report: func(*hooks.Report) {}}})
	a, err := b.NewAccount(AccountConfig{})
	same(t, "NewAccount", err, nil)
	defer a.Close()
	rounds := 20_000
	if testutil.Instrumented || testing.Short() {
		rounds = 500
	}
	objs := make([]unsafe.Pointer, 16)
	start, freed := make(chan struct{}), make(chan struct{})
	defer close(start)
	go func() {
		for range start {
			for _, p := range objs {
				b.Free(p)
			}
			freed <- struct{}{}
		}
	}()
	for range rounds {
		for i := range objs {
			objs[i], err = a.Malloc(64)
			same(t, "Malloc", err, nil)
		}
		start <- struct{}{}
		for a.Usage() == int64(len(objs))*64 {
			runtime.Gosched()
		}
		a.Reset() // finds some free, and meets the other goroutine at the next
		<-freed
		if a.Usage() != 0 {
			t.Fatalf("%d bytes are charged", a.Usage())
		}
	}
	if s := b.Stats(); s.Objects != 0 {
		t.Errorf("%d objects are in use", s.Objects)
	}
}

// What moves bytes between the words of an Account, and what adds these up, waits while another
// goroutine moves some.
func TestAccountMovesExclude(t *testing.T) {
	b := openBuckets(t, newArena(t, arena.Config{}), BucketsConfig{})
	for name, f := range map[string]func(*accountState){
		"collect":   (*accountState).collect,
		"move":      func(s *accountState) { s.move(0) },
		"giveFreed": (*accountState).giveFreed,
		"end":       (*accountState).end,
		"usage":     func(s *accountState) { s.usage() },
	} {
		a, err := b.NewAccount(AccountConfig{})
		same(t, "NewAccount", err, nil)
		var done atomic.Bool
		var calling sync.WaitGroup
		a.state.beginMove()
		calling.Go(func() { f(a.state); done.Store(true) })
		for range 10_000 {
			runtime.Gosched()
		}
		if done.Load() {
			t.Errorf("%s has not waited", name)
		}
		a.state.endMove()
		calling.Wait()
	}
}
