//go:build linux && cgo && !race && !invariants

package debugpage

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub"
)

// slabinfoFile writes slabinfo into a directory of its own, with a cache of 300 objects in use.
func slabinfoFile(t *testing.T) (dir string, objects uint64) {
	t.Helper()
	c := newCache(t, slub.Config{Name: "for-tools", Size: 96}, 300)
	dir = t.TempDir()
	f, err := os.Create(filepath.Join(dir, "slabinfo"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := WriteSlabinfo(f); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Stats().Nodes {
		objects += n.Objects
	}
	return dir, objects
}

// The collector of node_exporter reads the file as one of the kernel's.
func TestNodeExporterReadsSlabinfo(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a node_exporter")
	}
	exporter := testutil.Need(t, "prometheus-node-exporter", "prometheus-node-exporter")
	dir, objects := slabinfoFile(t)
	l, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free now
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	cmd := exec.Command(exporter, "--path.procfs="+dir, "--collector.disable-defaults", "--collector.slabinfo", "--web.listen-address="+address)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		cmd.Wait()
		close(exited)
	}()
	defer func() {
		cmd.Process.Kill()
		<-exited
	}()
	var page []byte
	for page == nil { // until it listens
		if answer, err := http.Get("http://" + address + "/metrics"); err == nil {
			page, err = io.ReadAll(answer.Body)
			answer.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			continue
		}
		select {
		case <-exited:
			t.Fatal("node_exporter has ended")
		case <-time.After(20 * time.Millisecond):
		}
	}
	http.DefaultClient.CloseIdleConnections()
	for family, want := range map[string]uint64{"objects": objects, "object_size_bytes": 96} {
		if line := fmt.Sprintf(`(?m)^node_slabinfo_%s\{slab="for-tools"\} %d$`, family, want); !regexp.MustCompile(line).Match(page) {
			t.Errorf("no %s in\n%.3000s", line, page)
		}
	}
}

// slabtop shows the file that is mounted over the kernel's.
func TestSlabtopReadsSlabinfo(t *testing.T) {
	testutil.Need(t, "slabtop", "procps")
	unshare := testutil.Need(t, "unshare", "util-linux")
	testutil.NeedHost(t, "a mount namespace", "util-linux", exec.Command(unshare, "-m", "true").Run())
	dir, objects := slabinfoFile(t)
	out, err := exec.Command(unshare, "-m", "sh", "-c", `mount --bind "$0" /proc/slabinfo && slabtop -o`, filepath.Join(dir, "slabinfo")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if line := fmt.Sprintf(`(?m)^ *%d +\d+ +\d+%% .* for-tools *$`, objects); !regexp.MustCompile(line).Match(out) {
		t.Errorf("no %s in\n%.3000s", line, out)
	}
}
