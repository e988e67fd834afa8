package numa

import (
	"runtime"
	"slices"
	"testing"

	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
)

func TestBoundNodes(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if bound := BoundNodes(); bound != nil {
		t.Errorf("a process that isn't bound is bound to %v", bound)
	}
	node := System().Fallback(NoNode)[0]
	mask := make([]uint64, node/64+1)
	mask[node/64] = 1 << (node % 64)
	for _, c := range []struct {
		mode int
		want []Node
	}{{mpolBind, []Node{node}}, {mpolBind | mpolStaticNodes, []Node{node}}, {mpolPreferred, nil}, {mpolInterleave, nil}} {
		err := sys.SetThreadPolicy(c.mode, mask)
		testutil.NeedHost(t, "set_mempolicy", "numactl", err)
		bound := BoundNodes()
		if err := sys.SetThreadPolicy(0, nil); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(bound, c.want) {
			t.Errorf("with mode %#x: bound to %v, want %v", c.mode, bound, c.want)
		}
	}
}
