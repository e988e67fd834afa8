package sheaves

import (
	"slices"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
)

// takeRemote gives the test n objects of a node, as if it had allocated them.
func (r *rig) takeRemote(node, n int) []unsafe.Pointer {
	objs := r.src.take(node, n)
	r.got(objs...)
	return objs
}

// remoteSheaves are the CPU's sheaves for node 1. The CPU is on node 0.
func (r *rig) remoteSheaves() *cpuSheaves {
	r.t.Helper()
	c := r.sheavesFor(1)
	if c == nil || c == &r.cpuSheaves {
		r.t.Fatal("no sheaves for node 1")
	}
	return c
}

// TestRemoteFreesGoHome: what a CPU frees of another node gathers in sheaves of its own, and fills
// that node's barn. The CPU's main sheaf has nothing to do with it.
func TestRemoteFreesGoHome(t *testing.T) {
	r := newRig(t, 2)
	r.arrange(state{main: 2, spare: none})
	for _, p := range r.takeRemote(1, 13) {
		if !r.TryFree(p, 1) {
			t.Fatalf("object %v was refused", p)
		}
		r.gone(p)
	}
	st := r.Stats()
	if want := (RemoteStats{Frees: 13, Objects: 5}); st.Remote != want {
		t.Errorf("counted %+v, want %+v", st.Remote, want)
	}
	if b := st.Barns[1]; b.Full != 2 || b.Objects != 8 || st.Barns[0].Full != 0 {
		t.Errorf("barns %+v, want two full sheaves on node 1", st.Barns)
	}
	if st.Events[FreeFastpath] != 13 || st.MainObjects != 2+5 {
		t.Errorf("%d frees, %d objects on CPUs", st.Events[FreeFastpath], st.MainObjects)
	}
	// Beyond the barn's limit they go to the Source, a sheaf at a time.
	for _, p := range r.takeRemote(1, 20) {
		r.TryFree(p, 1)
		r.gone(p)
	}
	if n := len(r.src.flushed); n == 0 || n%4 != 0 {
		t.Errorf("%d objects were flushed, want full sheaves", n)
	}
	for _, p := range r.src.flushed {
		if nodeOf(p) != 1 {
			t.Errorf("%v of node %d was flushed", p, nodeOf(p))
		}
	}
	if got := r.state(); got != (state{main: 2, spare: none}) {
		t.Errorf("the CPU's own sheaves: %+v", got)
	}
}

// TestRemoteFreeRCU: an object of another node waits in a sheaf for that node, and goes to its barn
// after the grace period.
func TestRemoteFreeRCU(t *testing.T) {
	r := newRig(t, 2)
	reader := r.reader()
	for _, p := range r.takeRemote(1, 5) {
		if !r.TryFreeRCU(p, 1, MayWait) {
			t.Fatalf("object %v was refused", p)
		}
		r.gone(p)
	}
	st := r.Stats()
	if b := st.Barns[1]; b.Waiting != 1 || b.WaitingObjects != 4 || st.Barns[0].Waiting != 0 {
		t.Errorf("barns %+v, want a sheaf of 4 that waits on node 1", st.Barns)
	}
	if st.Remote.FreesRCU != 5 || st.RCUObjects != 1 || st.Events[FreeRCUSheafFail] != 0 {
		t.Errorf("counted %+v, %v", st.Remote, st.Events)
	}
	// The timer starts what is left on the CPU.
	r.tick()
	r.tick()
	if b := r.Stats().Barns[1]; b.WaitingObjects != 5 {
		t.Errorf("barn 1 after two ticks: %+v", b)
	}
	reader.Offline()
	r.barrier()
	if n := r.src.reclaims(); n != 5 {
		t.Errorf("%d objects were reclaimed", n)
	}
	if b := r.Stats().Barns[1]; b.Objects != 5 || b.Waiting != 0 {
		t.Errorf("barn 1 after the grace period: %+v", b)
	}
}

// TestRemoteFreeRCUAtBarrier: a Barrier starts what CPUs keep of other nodes.
func TestRemoteFreeRCUAtBarrier(t *testing.T) {
	for name, start := range map[string]func(*rig){
		"Barrier": (*rig).barrier,
		"Close":   func(r *rig) { r.Close() },
		"StartAll": func(r *rig) {
			r.StartAll()
			r.domain.Synchronize(t.Context())
			r.ReclaimReady()
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2)
			p := r.takeRemote(1, 1)[0]
			if !r.TryFreeRCU(p, 1, MayWait) {
				t.Fatal("refused")
			}
			r.gone(p)
			start(r)
			if n := r.src.reclaims(); n != 1 {
				t.Errorf("%d objects were reclaimed", n)
			}
		})
	}
}

// TestAllocRemoteNode: a CPU keeps objects of another node for TryAllocNode, and all of them are of
// that node.
func TestAllocRemoteNode(t *testing.T) {
	r := newRig(t, 2)
	r.arrange(state{main: 2, spare: none})
	for i := range 9 {
		p := r.TryAllocNode(1)
		if p == nil || nodeOf(p) != 1 {
			t.Fatalf("allocation %d: %v", i, p)
		}
		r.got(p)
	}
	st := r.Stats()
	if want := (RemoteStats{Allocs: 9, Objects: 3}); st.Remote != want {
		t.Errorf("counted %+v, want %+v", st.Remote, want)
	}
	if n := st.Events[SheafRefill]; n != 12 {
		t.Errorf("%d objects came from the Source, want 12", n)
	}
	// Without memory there it fails, rather than take from elsewhere.
	r.src.full = map[int]bool{1: true}
	for range 3 {
		r.got(r.TryAllocNode(1))
	}
	if p := r.TryAllocNode(1); p != nil {
		t.Errorf("got %v of node %d, which has no memory", p, nodeOf(p))
	}
	if n := r.Stats().Events[SheafRefill]; n != 12 {
		t.Errorf("a sheaf for a node without memory got %d objects of other nodes", n-12)
	}
	if got := r.state(); got != (state{main: 2, spare: none}) {
		t.Errorf("the CPU's own sheaves: %+v", got)
	}
}

// TestMixedSheafOfRemoteNode: a sheaf that a refill has filled with objects of another node lies in
// the barn of the node that it was for. TryAllocNode from a CPU of another node doesn't take them
// for objects of the node.
func TestMixedSheafOfRemoteNode(t *testing.T) {
	r := newRig(t, 2)
	r.src.full = map[int]bool{1: true}
	r.moveTo(1)
	r.Return(r.borrow(3)) // the spare of CPU 1
	r.FlushIdle()
	b := &r.barns[1]
	st := r.hold(percpu.Main)
	spare := sheafOf(st.Spare)
	setSpare(st, nil)
	st.Unlock()
	if spare == nil || nodeOf(spare.objects()[0]) != 0 {
		t.Fatal("no spare with objects of node 0")
	}
	r.putInBarn(spare, b)
	r.moveTo(0)
	for range 3 {
		if p := r.TryAllocNode(1); p != nil {
			t.Errorf("got an object of node %d for node 1", nodeOf(p))
			r.got(p)
		}
	}
}

// TestSpareOfOtherNode: Prefill takes no spare of a CPU of another node than it has begun on.
func TestSpareOfOtherNode(t *testing.T) {
	r := newRig(t, 2)
	r.arrange(state{main: 0, spare: 4})
	if sh := r.takeSpare(1); sh != nil {
		t.Error("the spare of a CPU of node 0 was taken for node 1")
		r.drop(sh)
	}
	r.drop(r.takeSpare(0))
	if got := r.state(); got.spare != none {
		t.Errorf("state %+v after the spare was taken", got)
	}
}

// TestRemoteStacksAreEmptied: whatever takes objects from CPUs takes those of other nodes too, and
// leaves the stack unused.
func TestRemoteStacksAreEmptied(t *testing.T) {
	for name, empty := range map[string]func(*rig){
		"Flush":    func(r *rig) { r.Flush() },
		"FlushCPU": func(r *rig) { r.FlushCPU(r.cpu) },
		"GiveBack": func(r *rig) {
			if n := r.GiveBack(); n != 3 {
				r.t.Errorf("GiveBack counted %d objects", n)
			}
		},
		"FlushIdle": func(r *rig) {
			for range idleCalls + 1 {
				r.FlushIdle()
			}
		},
		"SetCapacity": func(r *rig) { r.resize(6) },
		"Close":       func(r *rig) { r.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2)
			for _, p := range r.takeRemote(1, 3) {
				r.TryFree(p, 1)
				r.gone(p)
			}
			c := r.remoteSheaves()
			empty(r)
			if n := r.src.away(); n != 0 {
				t.Errorf("%d objects are not back", n)
			}
			if !c.unused(r.cpu, percpu.Main) {
				t.Error("the stack is still in use")
			}
			seq := c.slots.Snapshot(r.cpu, percpu.Main).Seq
			r.FlushCPU(r.cpu)
			if now := c.slots.Snapshot(r.cpu, percpu.Main).Seq; now != seq {
				t.Error("the lock of an unused stack was taken")
			}
		})
	}
}

// TestRemoteCapacity: a stack for another node's objects gets sheaves of the capacity in force.
func TestRemoteCapacity(t *testing.T) {
	r := newRig(t, 2)
	p := r.takeRemote(1, 2)
	r.TryFree(p[0], 1)
	r.TryFreeRCU(p[1], 1, MayWait)
	r.gone(p...)
	r.resize(6)
	r.barrier()
	r.expectOneCapacity()
	for _, p := range r.takeRemote(1, 5) {
		r.TryFree(p, 1)
		r.gone(p)
	}
	if now := r.remoteSheaves().slots.Snapshot(r.cpu, percpu.Main); now.Size != 5 {
		t.Errorf("a sheaf of six holds %+v", now)
	}
}

// TestInstallOnClosedSet: no sheaf comes to an unused stack that CloseContext has left alone.
func TestInstallOnClosedSet(t *testing.T) {
	r := newRig(t, 2)
	c := r.remoteSheaves()
	r.closed.Store(true)
	p := r.takeRemote(1, 1)[0]
	if st := c.install(1); st != nil {
		t.Error("a sheaf was installed")
		st.Unlock()
	}
	if r.TryFree(p, 1) || r.TryFreeRCU(p, 1, MayWait) || len(r.FreeBulkRemote([]unsafe.Pointer{p}, true)) == 0 || r.TryAllocNode(1) != nil {
		t.Error("a closed stack was used")
	}
	if !c.unused(r.cpu, percpu.Main) || !c.unused(r.cpu, percpu.RCU) {
		t.Error("the stacks are not unused")
	}
	r.closed.Store(false)
}

// TestRankAfterClose: no stacks are made for a closed Set.
func TestRankAfterClose(t *testing.T) {
	r := newRig(t, 2)
	r.Close()
	if _, ok := r.RemoteSlots(0); ok {
		t.Error("a closed Set made stacks")
	}
	p := r.takeRemote(1, 1)[0]
	if r.TryFree(p, 1) {
		t.Error("a closed Set took an object")
	}
}

// TestFreeBulkRemote: objects of several nodes go each to the sheaf of its node. What these don't
// take stays in the slice.
func TestFreeBulkRemote(t *testing.T) {
	for _, counted := range []bool{true, false} {
		r := newRig(t, 3)
		var objs []unsafe.Pointer
		for i := range 30 {
			objs = append(objs, r.takeRemote(1+i/2%2, 1)...)
		}
		all := slices.Clone(objs)
		rest := r.FreeBulkRemote(objs, counted)
		st := r.Stats()
		put := len(all) - len(rest)
		want := uint64(0)
		if counted {
			want = uint64(put)
		}
		if st.Remote.Frees != want || put < 8 {
			t.Errorf("counted %d frees of %d objects that were taken", st.Remote.Frees, put)
		}
		for rank, c := range []*cpuSheaves{r.sheavesFor(1), r.sheavesFor(2)} {
			held := c.slots.LockCPU(r.cpu, percpu.Main)
			for _, p := range held.Objects()[:held.Size()] {
				if nodeOf(p) != rank+1 {
					t.Errorf("an object of node %d lies in the sheaf for node %d", nodeOf(p), rank+1)
				}
			}
			held.Unlock()
		}
		r.gone(all...)
		r.got(rest...)
		r.src.giveBack(rest)
		r.gone(rest...)
	}
}

// TestRemoteMigrated: a goroutine that has chosen its CPU's sheaves for a node comes to a CPU where
// these are for another node. They take nothing, whether they are in use there or not.
func TestRemoteMigrated(t *testing.T) {
	r := newRig(t, 2)
	chosen := r.remoteSheaves() // rank 0, which is node 0's on CPU 1
	r.moveTo(1)
	objs := r.takeRemote(1, 3)
	for _, inUse := range []bool{false, true} {
		if inUse {
			p := r.takeRemote(0, 1)
			if !r.TryFree(p[0], 0) {
				t.Fatal("CPU 1 doesn't take an object of node 0")
			}
			r.gone(p...)
		}
		if n := chosen.pushBulk(objs, 1, true); n != 0 {
			t.Errorf("in use %t: %d objects of node 1 went to the sheaf for node 0", inUse, n)
		}
		if st := chosen.lockNonFull(1); st != nil {
			t.Errorf("in use %t: the stack for node 0 was locked for an object of node 1", inUse)
			st.Unlock()
		}
		if p, _ := chosen.allocNode(1, false); p != nil {
			t.Errorf("in use %t: %v of node %d was allocated for node 1", inUse, p, nodeOf(p))
		}
	}
	if now := chosen.slots.Snapshot(1, percpu.Main); now.Size != 1 {
		t.Errorf("the stack for node 0 holds %+v", now)
	}
}

// TestReturnOnAnotherNode: a sheaf that was prefilled on one node and is returned on another goes
// home.
func TestReturnOnAnotherNode(t *testing.T) {
	r := newRig(t, 2)
	l := r.borrow(3)
	r.moveTo(1)
	r.Return(l)
	if got := r.state(); got != (state{main: 0, spare: none}) {
		t.Errorf("CPU 1 has %+v", got)
	}
	if b := r.Stats().Barns[0]; b.Objects != 4 {
		t.Errorf("barn 0: %+v", b)
	}
}

// TestOthers: ranks follow Config.Others, and a node that is not there has no sheaves.
func TestOthers(t *testing.T) {
	r := newRigOf(t, 4, func(c *Config) { c.Others = [][]int{{2, 1}, {3, 0}, {}, {}} })
	for node, rank := range []int16{noRank, 1, 0, noRank} {
		if got := r.ranks[0][node]; got != rank {
			t.Errorf("node %d has rank %d for node 0, want %d", node, got, rank)
		}
	}
	if c := r.sheavesFor(3); c != nil {
		t.Error("sheaves for a node that is not in Others")
	}
	c := r.sheavesFor(2)
	if c == nil || c.node(0) != 2 || c.node(1) != 3 {
		t.Errorf("sheaves of rank 0: %+v", c)
	}
}

// TestSetCapacityLocksUnusedStacks: an operation may have locked a stack that looks unused, and see
// the old capacity. SetCapacity takes the lock of every stack that was ever used.
func TestSetCapacityLocksUnusedStacks(t *testing.T) {
	r := newRig(t, 2)
	p := r.takeRemote(1, 1)[0]
	r.TryFree(p, 1)
	r.gone(p)
	r.FlushCPU(r.cpu)
	c := r.remoteSheaves()
	if !c.unused(r.cpu, percpu.Main) {
		t.Fatal("the stack is in use")
	}
	before := c.slots.Snapshot(r.cpu, percpu.Main).Seq
	r.resize(6)
	if c.slots.Snapshot(r.cpu, percpu.Main).Seq == before {
		t.Error("a stack's lock was not taken")
	}
}
