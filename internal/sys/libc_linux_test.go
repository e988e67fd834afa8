package sys

import (
	"os"
	"os/exec"
	"testing"

	"github.com/slubd/slubd/internal/testutil"
)

// musl and old glibc lack the symbols that say where struct rseq is, and a static program has no
// dynamic linker to resolve them. Each program must link, and its tests must find an area.
func TestOtherLibcs(t *testing.T) {
	if testing.Short() {
		t.Skip("rebuilds Go's C parts")
	}
	for name, cc := range map[string]struct{ program, aptPackage string }{
		"static glibc": {program: "gcc", aptPackage: "gcc"},
		"static musl":  {program: "musl-gcc", aptPackage: "musl-tools"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(testutil.Need(t, "go", "golang-go"), "test", "-run=^TestRseq",
				"-ldflags=-linkmode=external -extldflags=-static", ".")
			cmd.Env = append(os.Environ(), "CGO_ENABLED=1", "CC="+testutil.Need(t, cc.program, cc.aptPackage))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
