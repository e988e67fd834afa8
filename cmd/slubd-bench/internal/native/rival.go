package native

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// sources are the rivals' loops. They are compiled when they are to run, so that the module
// builds on machines that have neither of the libraries.
//
//go:embed bench.h rivals
var sources embed.FS

// Rival is a library for C programs that does what rcu and FreeRCU do.
type Rival struct {
	source  string   // in rivals
	header  string   // that source includes
	libs    []string // linker's names
	Package string   // Debian's with the header
	About   string   // for a list
}

var rivals = [...]Rival{
	{source: "urcu.c", header: "urcu/urcu-qsbr.h", libs: []string{"urcu-qsbr", "urcu-memb"}, Package: "liburcu-dev",
		About: "liburcu"},
	{source: "ck.c", header: "ck_epoch.h", libs: []string{"ck"}, Package: "libck-dev",
		About: "ck_epoch"},
}

// compiler is that of cgo.
func compiler() (string, error) {
	name := os.Getenv("CC")
	if name == "" {
		name = "gcc"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", &MissingError{name, "gcc"}
	}
	return path, nil
}

// Check looks for compiler and header. The error is a *MissingError if one isn't there.
func (r *Rival) Check() error {
	cc, err := compiler()
	if err != nil {
		return err
	}
	command := exec.Command(cc, "-E", "-x", "c", "-")
	command.Stdin = strings.NewReader("#include <" + r.header + ">\n")
	if err := command.Run(); err != nil {
		return &MissingError{r.header, r.Package}
	}
	return nil
}

// Compile makes a library for Load in dir and returns its path. The error is a
// *MissingError if compiler or header isn't there.
func (r *Rival) Compile(dir string) (path string, err error) {
	if err := r.Check(); err != nil {
		return "", err
	}
	cc, err := compiler()
	if err != nil {
		return "", err
	}
	for _, name := range []string{"bench.h", "rivals/rival.h", "rivals/" + r.source} {
		text, err := sources.ReadFile(name)
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), text, 0o600); err != nil {
			return "", err
		}
	}
	path = filepath.Join(dir, strings.TrimSuffix(r.source, ".c")+".so")
	args := []string{"-O2", "-std=gnu11", "-Wall", "-Wextra", "-shared", "-fPIC", "-pthread", "-o", path, filepath.Join(dir, r.source)}
	for _, lib := range r.libs {
		args = append(args, "-l"+lib)
	}
	if out, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
		return "", errors.Join(fmt.Errorf("compiling %s: %w", r.source, err), errors.New(string(bytes.TrimSpace(out))))
	}
	return path, nil
}
