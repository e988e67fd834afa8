package freequeue

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/backlog"
	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/rcu"
)

// Objects of each node gather apart, and all are reclaimed once.
func TestNodesGatherApart(t *testing.T) {
	r := newRig(t, false)
	r.Add(r.object(), 1, size, backlog.MayWait)
	if !r.NodeEmpty(0) || r.NodeEmpty(1) {
		t.Error("an object of node 1 is not queued there")
	}
	r.give(3)
	if r.NodeEmpty(0) {
		t.Error("objects of node 0 are not queued there")
	}
	if err := r.Barrier(t.Context()); err != nil {
		t.Error(err)
	}
	r.expect("after Barrier", 4)
	r.settled()
}

// What becomes of objects for which there is no page, step by step.
func TestWithoutPages(t *testing.T) {
	for name, tt := range map[string]struct {
		links, mayWait bool
		pages          int
		want           Stats
	}{
		"linked":                {true, true, 0, Stats{Linked: 5}},
		"waited for":            {false, true, 0, Stats{Waited: 5}},
		"callbacks":             {false, false, 0, Stats{Callback: 5}},
		"a page of the reserve": {false, false, 1, Stats{}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, tt.links)
			again := noPages(t, tt.pages)
			w := backlog.NoWait
			if tt.mayWait {
				w = backlog.MayWait
			}
			for range 5 {
				r.Add(r.object(), 0, size, w)
			}
			again()
			if s := r.Stats(); s != tt.want {
				t.Errorf("%+v, want %+v", s, tt.want)
			}
			if err := r.Barrier(t.Context()); err != nil {
				t.Error(err)
			}
			r.expect("after Barrier", 5)
			r.settled()
		})
	}
}

// An open page or chain is started at the second tick that sees it. Objects linked beside a chain
// that waits don't prolong its wait.
func TestTicksStart(t *testing.T) {
	r := newRig(t, true)
	again := noPages(t, 0)
	n := &r.nodes[0]
	reader := r.reader()
	r.give(1)
	r.timer.Fire()
	if n.startedChain.n != 0 {
		t.Error("started at the first tick")
	}
	r.timer.Fire()
	token := n.startedChain.token
	r.give(1)
	r.timer.Fire()
	r.timer.Fire()
	if n.startedChain.n != 1 || n.startedChain.token != token || n.openChain.n != 1 {
		t.Errorf("one waits, one is linked: %+v, %+v", n.startedChain, n.openChain)
	}
	reader.Quiescent()
	r.timer.Fire()
	r.timer.Fire()
	r.expect("when the first one's reader has reported", 1)
	r.give(1)
	again()
	_ = reader.Close()
	if err := r.Barrier(t.Context()); err != nil { // the one that waits, and the one that is linked
		t.Error(err)
	}
	r.expect("after Barrier", 3)
}

// Ticks notice a reader that holds up a grace period for which no goroutine waits.
func TestTicksNoticeStalls(t *testing.T) {
	for _, links := range []bool{false, true} {
		r := newRig(t, links)
		if links {
			defer noPages(t, 0)()
		}
		r.domain.OnStall(1, func(rcu.Stall) {})
		reader := r.reader()
		r.give(1)
		for range 200 { // one in 64 looks; the first finds the reader, the second reports it
			r.timer.Fire()
		}
		if r.domain.Stats().Stalls == 0 {
			t.Errorf("with links %v no stall was noticed", links)
		}
		_ = reader.Close()
	}
}

// A page that has taken a full one's place is as young as its first object.
func TestTicksStartNoYoungPage(t *testing.T) {
	r := newRig(t, false)
	n := &r.nodes[0]
	r.give(1)
	r.timer.Fire()
	r.give(PageCap)
	r.timer.Fire()
	if n.openPage == nil || n.openPage.n != 1 {
		t.Error("the second page is started at the first tick that sees it")
	}
	r.timer.Fire()
	if n.openPage != nil {
		t.Error("the second page is not started at the second tick")
	}
}

// The timer runs while something waits, and rests then.
func TestTimerRests(t *testing.T) {
	r := newRig(t, false)
	if r.timer.Armed() {
		t.Error("the timer of an empty queue is armed")
	}
	r.give(1)
	for i := range 2 {
		if !r.timer.Armed() {
			t.Errorf("nothing will reclaim the object after %d ticks", i)
		}
		r.timer.Fire()
	}
	r.expect("after two ticks", 1)
	if r.timer.Armed() {
		t.Error("the timer is armed and has nothing to do")
	}
}

// Poll reclaims some of a ready page, the oldest first, and never what is not ready.
func TestPoll(t *testing.T) {
	r := newRig(t, false)
	reader := r.reader()
	r.give(PageCap) // starts the page
	r.Poll()
	r.expect("under a reader", 0)
	reader.Quiescent()
	r.give(1)
	for want := int64(MaxPoll); want < PageCap; want += MaxPoll {
		r.Poll()
		r.expect("after a Poll", want)
	}
	r.Poll()
	r.Poll()
	r.expect("after the last Poll", PageCap)
}

// A page that turns out not to be needed goes back.
func TestNodeKeepsOnePage(t *testing.T) {
	d := new(rcu.Domain)
	var n nodeQueue
	p := unsafe.Pointer(new(uint64))
	if result, left := n.push(d, p, 8, nil); result != noPageAtAll || left != nil {
		t.Errorf("without a page: %d, %p", result, left)
	}
	one, other := new(ptrPage), new(ptrPage)
	if result, left := n.push(d, p, 8, one); result != pushed || left != nil || n.openPage != one {
		t.Errorf("with one: %d, %p", result, left)
	}
	if result, left := n.push(d, p, 8, other); result != pushed || left != other || one.n != 2 {
		t.Errorf("with another: %d, %p, %d objects in the first", result, left, one.n)
	}
}

// Barrier returns nil only when what was given before it is reclaimed, also where another one
// comes in between and gives the chain a later grace period.
func TestTwoBarriers(t *testing.T) { synctest.Test(t, twoBarriers) }

func twoBarriers(t *testing.T) {
	r := newRig(t, true)
	barrier := func() <-chan error {
		done := make(chan error, 1)
		go func() { done <- r.Barrier(t.Context()) }()
		synctest.Wait() // until it waits for a reader, or for the other Barrier
		return done
	}
	reader1 := r.reader()
	r.link()
	first := barrier()
	reader2 := r.reader()
	r.link()
	second := barrier()
	_ = reader1.Close()
	if err := <-first; err != nil {
		t.Error(err)
	}
	if r.died.Load() < 1 {
		t.Error("the first Barrier returned before what was given to it was reclaimed")
	}
	_ = reader2.Close()
	if err := <-second; err != nil {
		t.Error(err)
	}
	r.expect("after both", 2)
}

// Close waits for a goroutine that has taken the chain and is reclaiming it.
func TestCloseWaitsForTimer(t *testing.T) {
	r := newRig(t, true)
	in, out := make(chan bool, 1), make(chan bool)
	var once sync.Once
	r.dtor = func(unsafe.Pointer) { once.Do(func() { in <- true; <-out }) }
	again := noPages(t, 0)
	r.give(3)
	again()
	r.StartAll()
	go r.timer.Fire()
	<-in
	closed := make(chan error, 1)
	go func() { closed <- r.Close(t.Context()) }()
	select {
	case err := <-closed:
		t.Errorf("Close returned %v with %d objects pending", err, r.Pending())
	case <-time.After(20 * time.Millisecond):
	}
	close(out)
	within(t, "all are reclaimed", func() bool { return r.Pending() == 0 })
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if r.timer.Armed() {
		t.Error("the timer of a closed queue is armed")
	}
}

// Close reclaims what a destructor has added while Close waited for it.
func TestCloseReclaimsWhatDestructorsAdd(t *testing.T) {
	for _, chains := range []bool{false, true} {
		r := newRig(t, chains)
		again := func() {}
		if chains {
			again = noPages(t, 0)
		}
		in, out := make(chan bool, 1), make(chan bool)
		var once sync.Once
		r.dtor = func(unsafe.Pointer) { once.Do(func() { in <- true; <-out; r.give(1) }) }
		r.give(1)
		r.StartAll()
		go r.timer.Fire()
		<-in // nothing is left in the queue
		closed := make(chan error, 1)
		go func() { closed <- r.Close(t.Context()) }()
		time.Sleep(20 * time.Millisecond)
		close(out)
		if err := <-closed; err != nil {
			t.Error(err)
		}
		again()
		r.expect("after Close", 2)
		r.settled()
	}
}

// A chain that is started once more waits for the grace period of what came last: readers since
// the first start may hold that.
func TestMergedChainWaitsForItsYoungest(t *testing.T) {
	r := newRig(t, true)
	first := r.reader()
	r.link()
	r.start(true)
	second := r.reader() // may hold the second object
	r.link()
	r.start(true)
	_ = first.Close()
	r.ReclaimReady()
	if r.died.Load() > 1 {
		t.Error("the second object is reclaimed under a reader")
	}
	_ = second.Close()
}

// A goroutine that reclaims deals with what was there when it began, even if as much comes
// meanwhile: Barrier and Close wait for it.
func TestReclaimHasAnEnd(t *testing.T) {
	const n = 50
	for _, chains := range []bool{false, true} {
		r := newRig(t, chains)
		again := func() {}
		if chains {
			again = noPages(t, 0)
		}
		left := n - 1
		r.dtor = func(unsafe.Pointer) {
			if left > 0 {
				left--
				r.give(1)
				r.StartAll()
			}
		}
		r.give(1)
		r.StartAll()
		for want := int64(1); want <= n; want++ {
			_ = r.reclaimAndWait(context.Background())
			if r.expect("after one more round", want); t.Failed() {
				break
			}
		}
		again()
	}
}

// A destructor that ends its goroutine loses no object behind it, in pages and in chains.
func TestReclaimEndsItsGoroutine(t *testing.T) {
	for _, chains := range []bool{false, true} {
		r := newRig(t, chains)
		again := func() {}
		if chains {
			again = noPages(t, 0)
		}
		const n = 3 * batchCap
		r.give(n)
		again()
		r.StartAll()
		first := true
		r.dtor = func(unsafe.Pointer) {
			if first {
				first = false
				runtime.Goexit()
			}
		}
		done := make(chan bool)
		go func() { defer close(done); r.ReclaimReady() }()
		<-done
		if err := r.Barrier(t.Context()); err != nil {
			t.Error(err)
		}
		if chains {
			r.expect("all but the batch that was given to the destructor", n-batchCap)
		} else {
			r.expect("all but the page that was given to the destructor", 0)
		}
		r.settled()
	}
}

// Where a link is broken the objects behind it are lost, told and no longer counted.
func TestBrokenLink(t *testing.T) {
	r := newRig(t, true)
	again := noPages(t, 0)
	r.give(6)
	again()
	broken := uintptr(unsafe.Pointer(r.objs[2])) // the chain begins with the last one
	r.mu.Lock()
	delete(r.next, broken)
	r.mu.Unlock()
	if err := r.Barrier(t.Context()); err != nil {
		t.Error(err)
	}
	r.expect("the last four", 4)
	if len(r.lost) != 1 || r.lost[0] != broken {
		t.Errorf("told of %#x, want %#x", r.lost, broken)
	}
	r.settled()
}

// A report of a broken link that ends its goroutine loses no object before the link.
func TestReportOfBrokenLinkExits(t *testing.T) {
	r := newRig(t, true)
	r.cfg.Lost = func(uintptr) { runtime.Goexit() }
	again := noPages(t, 0)
	r.give(6)
	again()
	r.mu.Lock()
	delete(r.next, uintptr(unsafe.Pointer(r.objs[2])))
	r.mu.Unlock()
	r.StartAll()
	done := make(chan bool)
	go func() { defer close(done); r.ReclaimReady() }()
	<-done
	r.expect("the last four", 4)
	r.settled()
}

// once has f called when a goroutine next leaves a nodeQueue to come back.
func once(t *testing.T, f func()) (end func()) {
	t.Helper()
	if !invariants.Enabled {
		t.Skip("needs -tags invariants")
	}
	return invariants.Interrupt(func(p invariants.Point) {
		if g := f; p == invariants.NodeQueueLeft && g != nil {
			f = nil
			g()
		}
	})
}

// A chain that gets another grace period between the look at its token and its removal is not
// taken: readers may hold what joined it.
func TestChainMergedWhileLookedAt(t *testing.T) {
	r := newRig(t, true)
	r.link()
	r.start(true) // ready at once
	var reader *rcu.Reader
	end := once(t, func() {
		reader = r.reader()
		r.link()
		r.start(true)
	})
	r.ReclaimReady()
	end()
	if reader == nil {
		t.Fatal("not interrupted")
	}
	r.expect("under a reader", 0)
	_ = reader.Close()
	if err := r.Barrier(t.Context()); err != nil {
		t.Error(err)
	}
	r.expect("after Barrier", 2)
}

// A page that a goroutine gets for a node which has one by then goes back to the pool.
func TestSurplusPageGoesBack(t *testing.T) {
	r := newRig(t, false)
	again := noPages(t, 2)
	before := ReserveInUse()
	end := once(t, func() { r.give(1) })
	r.give(1)
	end()
	if n := ReserveInUse() - before; n != 1 || r.nodes[0].openPage.n != 2 {
		t.Errorf("%d pages are in use for one nodeQueue of %d objects", n, r.nodes[0].openPage.n)
	}
	again()
	if err := r.Barrier(t.Context()); err != nil {
		t.Error(err)
	}
}

// An expedited round starts and reclaims what is open, until Close.
func TestQueueOfBacklog(t *testing.T) {
	r := newRig(t, false)
	b := backlog.New(backlog.Config{Domain: r.domain, SoftLimit: 10, HardLimit: backlog.Unlimited})
	var q Queue
	q.Init(Config{Domain: r.domain, Backlog: b, Reclaim: r.reclaimed, Delay: 2 * time.Hour, Nodes: 1})
	q.Add(r.object(), 0, size, backlog.MayWait)
	within(t, "the object is reclaimed", func() bool { return r.died.Load() == 1 && b.Stats().Bytes == 0 })
	if err := q.Close(t.Context()); err != nil {
		t.Error(err)
	}
	round := make(chan bool, 1)
	b.Add(otherQueue(round))
	q.Add(r.object(), 0, size, backlog.MayWait)
	<-round
	r.expect("after a round without the closed queue", 1)
	if err := q.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// otherQueue tells when a round has called it.
type otherQueue chan bool

func (o otherQueue) StartAll()     {}
func (o otherQueue) ReclaimReady() { o <- true }
