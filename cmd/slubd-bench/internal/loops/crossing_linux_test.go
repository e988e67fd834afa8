package loops

import (
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/slub"
)

func TestCrossingRuns(t *testing.T) {
	cpus := allowed(t)
	for _, method := range Methods() {
		for _, node := range []numa.Node{numa.NoNode, numa.System().LocalNode(cpus[0])} {
			x := Crossing{AllocCPU: cpus[0], FreeCPU: cpus[len(cpus)-1], Node: node, Method: method, Size: 64, Time: time.Microsecond}
			r, err := x.Run() // also fails if an object is left over
			if err != nil || r.AllocNs <= 0 || r.FreeNs <= 0 || r.Unknown == nil && r.Objects != crossingBatch {
				t.Errorf("%s, node %d: %+v, %v", method, node, r, err)
			}
		}
	}
}

func TestCrossingReportsErrors(t *testing.T) {
	cpus := allowed(t)
	good := Crossing{AllocCPU: cpus[0], FreeCPU: cpus[0], Node: numa.NoNode, Method: ByFree, Size: 64, Time: time.Microsecond}
	for what, change := range map[string]func(*Crossing){
		"no such CPU to allocate on": func(x *Crossing) { x.AllocCPU = 8191 },
		"no such CPU to free on":     func(x *Crossing) { x.FreeCPU = 8191 },
		"no such node":               func(x *Crossing) { x.Node = 1000 },
		"no such size":               func(x *Crossing) { x.Size = -1 },
	} {
		x := good
		change(&x)
		if r, err := x.Run(); err == nil {
			t.Errorf("%s: %+v", what, r)
		}
	}
}

// TestNear has a node without memory and two others equally near to it.
func TestNear(t *testing.T) {
	topology, err := numa.LoadFS(testutil.SysFS(
		testutil.SysNode{ID: 0, CPUs: []int{0}, Memory: 1 << 30, Distance: []int{10, 20, 20, 30}},
		testutil.SysNode{ID: 1, CPUs: []int{1}, Distance: []int{20, 10, 20, 30}},
		testutil.SysNode{ID: 2, CPUs: []int{2}, Memory: 1 << 30, Distance: []int{20, 20, 10, 20}},
		testutil.SysNode{ID: 3, Memory: 1 << 30, Distance: []int{30, 30, 20, 10}}))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		x    Crossing
		near []numa.Node
	}{
		{Crossing{AllocCPU: 0, Node: numa.NoNode}, []numa.Node{0}},
		{Crossing{AllocCPU: 1, Node: numa.NoNode}, []numa.Node{0, 2}},
		{Crossing{AllocCPU: 2, Node: numa.NoNode}, []numa.Node{2}},
		{Crossing{AllocCPU: 2, Node: 3}, []numa.Node{3}},
	} {
		for _, n := range append(topology.Nodes(), numa.NoNode) {
			want := false
			for _, near := range c.near {
				want = want || n == near
			}
			if c.x.near(topology)(n) != want {
				t.Errorf("%+v: node %d is near: %v", c.x, n, !want)
			}
		}
	}
}

// TestRemoteCountsObjects asks the kernel where objects of the test are.
func TestRemoteCountsObjects(t *testing.T) {
	c, err := slub.New(nil, slub.Config{Name: "bench-remote", Size: 64})
	if err != nil {
		t.Fatal(err)
	}
	objects := make([]unsafe.Pointer, 1000)
	if err := c.AllocBulk(objects); err != nil {
		t.Fatal(err)
	}
	for i, p := range objects {
		touch(p, i)
	}
	for near, want := range map[bool]int{true: 0, false: len(objects)} {
		if n, err := remote(objects, func(n numa.Node) bool { return near && n != numa.NoNode }); err == nil && n != want {
			t.Errorf("%d remote objects, want %d", n, want)
		}
	}
	c.FreeBulk(objects)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
