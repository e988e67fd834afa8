//go:build linux && !race

package arena

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
)

// TestAssumedTopologyIsNotBound: without nodes in sysfs, memory is left to the first touch, since
// node 0 may be any of several. Stats and the log say so, the log once; Strict is an error.
func TestAssumedTopologyIsNotBound(t *testing.T) {
	for name, tree := range map[string]fstest.MapFS{
		"no sysfs":        {},
		"no node online":  {"devices/system/node/online": testutil.Text("")},
		"no nodes' files": {"devices/system/cpu/online": testutil.Text("0")},
	} {
		var text bytes.Buffer
		a := open(t, Config{Topology: load(t, tree), Logger: slog.New(slog.NewTextHandler(&text, nil))})
		s := a.Stats().Nodes[0]
		if !strings.HasPrefix(s.Placement, "first-touch: one node assumed: ") {
			t.Errorf("%s: placement %q", name, s.Placement)
		}
		if strings.Count(text.String(), "assumed: ") != 1 || strings.Contains(text.String(), "won't place") {
			t.Errorf("%s: logged %s", name, &text)
		}
		addr, _, err := a.Map(8*mib, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Unmap(addr)
		for _, at := range []uintptr{a.Base(), addr, uintptr(a.Owners()), uintptr(a.Meta(0))} {
			mode, _, err := sys.Mempolicy(at)
			testutil.NeedHost(t, "get_mempolicy", "linux-image-amd64", err)
			if mode != 0 {
				t.Errorf("%s: policy %#x at %#x, range at %#x, mapping at %#x", name, mode, at, a.Base(), addr)
			}
		}
		if _, err := New(Config{Span: 8 * mib, Topology: load(t, tree), Strictness: numa.Strict}); !errors.Is(err, numa.ErrAssumed) {
			t.Errorf("%s: New under Strict: %v", name, err)
		}
	}
}
