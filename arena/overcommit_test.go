//go:build overcommit && !race

package arena

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime/metrics"
	"strings"
	"testing"

	"github.com/slubd/slubd/internal/mem"
)

// Under vm.overcommit_memory=2 the kernel counts what was carved, not what is reserved, and a child
// process can be started beside a large arena. Closing the arena gives all of it back.
func TestStrictOvercommit(t *testing.T) {
	mode, err := os.ReadFile("/proc/sys/vm/overcommit_memory")
	if err != nil || strings.TrimSpace(string(mode)) != "2" {
		t.Fatalf("vm.overcommit_memory is %q, %v; this build of the test wants 2", mode, err)
	}
	forgetRanges(t)
	before := committed(t)
	a := open(t, Config{Span: 1 << 40})
	if a.Span() != 1<<40 {
		t.Errorf("the span is %d", a.Span())
	}
	if n := committed(t) - before; n > 4*mib {
		t.Errorf("an idle arena counts %d KiB", n>>10)
	}
	var runs []Run
	for range 8 {
		runs = append(runs, alloc(t, a, MaxOrder, 0))
	}
	waitAhead(a)
	if n := committed(t) - before; n < 8*maxRun || n > 9*maxRun+4*mib {
		t.Errorf("8 runs of 4 MiB count %d KiB", n>>10)
	}
	if out, err := exec.Command("/proc/self/exe", "-test.list", "none").CombinedOutput(); err != nil {
		t.Errorf("a child process: %v\n%s", err, out)
	}
	for _, run := range runs {
		a.Free(run.Page)
	}
	addr := mapped(t, a, 5*mib)
	*mem.At[byte](addr) = 1
	a.Unmap(addr)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if n := committed(t) - before; n > 4*mib {
		t.Errorf("a closed arena counts %d KiB", n>>10)
	}
}

// committed is what counts as committed on this machine, in bytes, without what Go's runtime has
// mapped: its heap grows by 4 MiB whenever a collection comes late. If it grows between the two
// readings they are made again.
func committed(t *testing.T) int64 {
	t.Helper()
	for {
		mapped := runtimeBytes()
		text, err := os.ReadFile("/proc/meminfo")
		if err != nil {
			t.Fatal(err)
		}
		var n int64
		_, line, _ := bytes.Cut(text, []byte("Committed_AS:"))
		if _, err := fmt.Sscanf(string(line), "%d kB", &n); err != nil {
			t.Fatal(err)
		}
		if runtimeBytes() == mapped {
			return n<<10 - mapped
		}
	}
}

// runtimeBytes is what Go's runtime has mapped.
func runtimeBytes() int64 {
	runtimes := []metrics.Sample{{Name: "/memory/classes/total:bytes"}}
	metrics.Read(runtimes)
	return int64(runtimes[0].Value.Uint64())
}
