//go:build !race && !asan && !invariants

package slub_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub"
)

// Neither the fast path nor an exchange allocates Go memory.
func TestLocalAllocatesNoGoMemory(t *testing.T) {
	c := open(t, nil, slub.Config{Size: 64})
	l := newLocal(t, c, 10)
	ps := make([]unsafe.Pointer, 100)
	if n := testutil.GoAllocs(100, func() {
		for i := range ps {
			ps[i], _ = l.Alloc()
		}
		freeLocal(l, ps)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// callers is a program that calls what is to be inlined, one call in a line.
const callers = `package callers

import "unsafe"
import "github.com/slubd/slubd/slub"

func alloc(l *slub.Local) (unsafe.Pointer, error) { return l.Alloc() }

func free(l *slub.Local, p unsafe.Pointer) { l.Free(p) }

func typedAlloc(l slub.TypedLocal[[8]byte]) (*[8]byte, error) { return l.Alloc() }

func typedFree(l slub.TypedLocal[[8]byte], p *[8]byte) { l.Free(p) }
`

// The compiler inlines Alloc and Free of a Local into their callers, down to the last function of
// the fast path. It decides by a budget, which one more operation may exceed.
func TestLocalInlined(t *testing.T) {
	testutil.Need(t, "go", "golang-go")
	dir := t.TempDir()
	source, err := filepath.Abs("../internal/callers/callers.go") // there is no such file
	same(t, "Abs", err, nil)
	real, overlay := filepath.Join(dir, "callers.go"), filepath.Join(dir, "overlay.json")
	same(t, "WriteFile", os.WriteFile(real, []byte(callers), 0o644), nil)
	text, err := json.Marshal(map[string]map[string]string{"Replace": {source: real}})
	same(t, "Marshal", err, nil)
	same(t, "WriteFile", os.WriteFile(overlay, text, 0o644), nil)
	out, err := exec.Command("go", "build", "-overlay", overlay, "-gcflags=-m", "../internal/callers").CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	inlined := regexp.MustCompile(`callers\.go:(\d+):\d+: inlining call to slub\.(\S+)`)
	got := map[string][]string{} // names by line
	for _, m := range inlined.FindAllStringSubmatch(string(out), -1) {
		got[m[1]] = append(got[m[1]], m[2])
	}
	for line, names := range map[string][]string{
		"6":  {"(*Local).Alloc", "(*Local).alloc", "(*localState).pop"},
		"8":  {"(*Local).Free", "(*Local).free", "(*localState).push"},
		"10": {"TypedLocal[go.shape.[8]uint8].Alloc", "(*Local).Alloc", "(*Local).alloc", "(*localState).pop"},
		"12": {"TypedLocal[go.shape.[8]uint8].Free", "(*Local).Free", "(*Local).free", "(*localState).push"},
	} {
		for _, name := range names {
			if !slices.Contains(got[line], name) {
				t.Errorf("%s is not inlined into\n%s", name, strings.Split(callers, "\n")[int(line[len(line)-1]-'1')%10])
			}
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}
