package lint

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/fstest"
)

// root is the module's root as seen from this package's directory, in which
// the go command runs the tests.
const root = "../.."

var rules = map[string]func(tree) findings{
	"import graph":       importGraph,
	"cgo placement":      cgoPlacement,
	"asm placement":      asmPlacement,
	"linkname placement": linknamePlacement,
	"unsafe placement":   unsafePlacement,
	"system calls":       systemCalls,
	"file length":        fileLength,
	"gofmt":              gofmtClean,
	"markers":            noMarkers,
	"package comments":   packageComments,
}

func TestModule(t *testing.T) {
	tr, err := load(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	if len(tr) == 0 {
		t.Fatal("no sources found")
	}
	for name, rule := range rules {
		t.Run(name, func(t *testing.T) {
			for _, finding := range rule(tr) {
				t.Error(finding)
			}
		})
	}
	t.Run("graph has no cycle", func(t *testing.T) {
		for _, finding := range acyclic(graph) {
			t.Error(finding)
		}
	})
}

func TestSlubDoesNotLinkThePrometheusClient(t *testing.T) {
	deps := dependencies(t, root)
	if len(deps) < 10 {
		t.Fatalf("slub depends on only %v", deps)
	}
	for _, finding := range linksClient(deps) {
		t.Error(finding)
	}
}

// dependencies asks the go command what ./slub of the module at dir links.
func dependencies(t *testing.T, dir string) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath", "./slub")
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var deps []string
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct{ ImportPath string }
		if err := d.Decode(&p); err == io.EOF {
			return deps
		} else if err != nil {
			t.Fatal(err)
		}
		deps = append(deps, p.ImportPath)
	}
}

// TestLinkingTheClientIsFound gives the rule a module whose slub reaches the
// client through another package, which no import graph of ours would show.
func TestLinkingTheClientIsFound(t *testing.T) {
	dir := t.TempDir()
	files := fstest.MapFS{}
	for name, text := range map[string]string{
		"go.mod": "module " + module + "\n\ngo 1.26.0\n\nrequire github.com/prometheus/client_golang v0.0.0\n\n" +
			"replace github.com/prometheus/client_golang => ./client\n",
		"slub/slub.go":           "package slub\n\nimport _ \"" + module + "/between\"\n",
		"between/b.go":           "package between\n\nimport _ \"github.com/prometheus/client_golang/prometheus\"\n",
		"client/go.mod":          "module github.com/prometheus/client_golang\n\ngo 1.26.0\n",
		"client/prometheus/p.go": "package prometheus\n",
	} {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	if err := os.CopyFS(dir, files); err != nil {
		t.Fatal(err)
	}
	f := linksClient(dependencies(t, dir))
	if len(f) != 1 || !strings.Contains(f[0], "client_golang/prometheus") {
		t.Errorf("found %v", f)
	}
}
