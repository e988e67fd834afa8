package loops

import (
	"errors"
	"math/rand/v2"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/machine"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/slub"
)

// nodes is slubd in the workloads of workload/nodes.go. It has one thread. Each run has an arena
// and a cache of its own, since what a run leaves behind is what the next one would measure.
type nodes struct {
	spec          workload.Spec
	topology      *numa.Topology
	first, second machine.Place

	share float64 // of remote objects at the end of a run
	known bool    // whether the kernel told the share
	err   error   // of ending the run
}

func openNodes(s workload.Spec, m *machine.Machine) (target, error) {
	n := &nodes{spec: s, topology: m.Topology()}
	var both, memoryOnly []machine.Place // nodes with CPUs and memory, and with memory alone
	for _, p := range m.NodePlaces() {
		switch {
		case p.MemoryOnly && len(m.Topology().CPUs(p.Node)) == 0:
			memoryOnly = append(memoryOnly, p)
		case !p.MemoryOnly && m.Topology().HasMemory(p.Node):
			both = append(both, p)
		}
	}
	switch s.Kind {
	case workload.CXL:
		if len(memoryOnly) == 0 {
			return nil, &workload.NeedsError{What: "2 nodes, one of them with memory and without CPUs"}
		}
		n.second = memoryOnly[0]
	case workload.NodeFull:
		if len(both) == 0 || len(m.Topology().Fallback(both[0].Node)) < 2 {
			return nil, &workload.NeedsError{What: "2 nodes with memory"}
		}
		n.second = both[0]
	default:
		if len(both) < 2 {
			return nil, &workload.NeedsError{What: "2 nodes, each with CPUs that this process may use and memory"}
		}
		n.first, n.second = both[0], both[1]
	}
	return n, nil
}

func (*nodes) close() error { return nil }

func (n *nodes) background() func() (map[string]float64, error) {
	n.known, n.err = false, nil
	return func() (map[string]float64, error) {
		if !n.known {
			return nil, n.err
		}
		return map[string]float64{workload.RemoteShare: n.share}, n.err
	}
}

// nodesThread is the thread of a run, pinned to the CPU of the second node.
type nodesThread struct {
	*nodes
	arena  *arena.Arena
	cache  *slub.Cache
	kept   []unsafe.Pointer // by the first node
	live   []unsafe.Pointer
	random workload.Random
	unpin  func()
}

func (n *nodes) worker(int, *shared) (worker, error) {
	t := &nodesThread{nodes: n, random: workload.NewRandom(n.spec.Seed, 0), unpin: func() {}}
	if err := t.prepare(); err != nil {
		return worker{}, errors.Join(err, t.end())
	}
	return worker{loop: t.replace, stop: func() {
		if share, err := t.remoteShare(); err == nil {
			n.share, n.known = share, true
		}
		n.err = t.end()
	}}, nil
}

func (t *nodesThread) prepare() (err error) {
	if t.arena, err = arena.New(arena.Config{Name: "bench-nodes", Topology: t.topology}); err != nil {
		return err
	}
	if t.cache, err = slub.New(t.arena, slub.Config{Name: "bench-nodes", Size: int64(t.spec.Size)}); err != nil {
		return err
	}
	switch t.spec.Kind {
	case workload.NodeFull:
		half := t.spec.Live / 2 * int(t.cache.Stats().SlotSize)
		if err := t.arena.SetNodeLimit(t.second.Node, int64(half)); err != nil {
			return err
		}
	case workload.PhaseChange:
		if err := t.firstPhase(); err != nil {
			return err
		}
	}
	if t.unpin, err = pin(t.second.CPU); err != nil {
		return err
	}
	for i := range t.spec.Live {
		p, err := t.alloc()
		if err != nil {
			return err
		}
		touch(p, i)
		t.live = append(t.live, p)
	}
	return nil
}

// firstPhase has the first node allocate many objects, and free all but a few.
func (t *nodesThread) firstPhase() error {
	l := startLane(t.first.CPU)
	defer l.close()
	_, err := l.time(func() error {
		all := make([]unsafe.Pointer, 0, workload.PhaseFill)
		defer func() { t.kept = all }()
		for i := range workload.PhaseFill {
			p, err := t.cache.Alloc()
			if err != nil {
				return err
			}
			touch(p, i)
			all = append(all, p)
		}
		random := rand.New(rand.NewPCG(t.spec.Seed, 1))
		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, p := range all[workload.PhaseKeep:] {
			t.cache.Free(p)
		}
		all = all[:workload.PhaseKeep]
		return nil
	})
	return err
}

func (t *nodesThread) alloc() (unsafe.Pointer, error) {
	if t.spec.Kind == workload.CXL {
		return t.cache.AllocNode(t.second.Node)
	}
	return t.cache.Alloc()
}

// replace is churn's loop. The first loop has no look at the kind in it, which would cost as much
// as a part of an allocation.
func (t *nodesThread) replace(n int) error {
	if t.spec.Kind == workload.CXL {
		return t.replaceOnNode(n)
	}
	c, live, random := t.cache, t.live, &t.random
	for i := range n {
		slot := &live[random.Draw(uint32(len(live)))]
		c.Free(*slot)
		p, err := c.Alloc()
		*slot = p
		if err != nil {
			return err
		}
		touch(p, i)
	}
	return nil
}

func (t *nodesThread) replaceOnNode(n int) error {
	c, live, random, node := t.cache, t.live, &t.random, t.second.Node
	for i := range n {
		slot := &live[random.Draw(uint32(len(live)))]
		c.Free(*slot)
		p, err := c.AllocNode(node)
		*slot = p
		if err != nil {
			return err
		}
		touch(p, i)
	}
	return nil
}

// remoteShare asks the kernel where the live objects are.
func (t *nodesThread) remoteShare() (float64, error) {
	near := nearTo(t.topology, t.second.CPU)
	if t.spec.Kind == workload.CXL {
		near = func(n numa.Node) bool { return n == t.second.Node }
	}
	n, err := remote(t.live, near)
	return float64(n) / float64(max(1, len(t.live))), err
}

// end frees what the run has, and gives its thread back.
func (t *nodesThread) end() error {
	defer t.unpin()
	if t.arena == nil {
		return nil
	}
	var err error
	if t.cache != nil {
		for _, list := range [][]unsafe.Pointer{t.kept, t.live} {
			for _, p := range list {
				t.cache.Free(p) // nil, after an allocation that failed, is ignored
			}
		}
		err = t.cache.Close()
	}
	return errors.Join(err, t.arena.Close())
}
