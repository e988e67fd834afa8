package native

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// sources are the rivals' loops. They are compiled when they are to run, so that the module
// builds on machines that have neither of the libraries.
//
//go:embed bench.h rivals
var sources embed.FS

// Rival is a library for C programs that does what rcu and FreeRCU do.
type Rival struct {
	sources []string // in rivals
	header  string   // that they include, and that is missing if one is
	libs    []string // linker's names
	Package string   // Debian's with the header
	About   string   // for a list
}

var rivals = [...]Rival{
	{sources: []string{"urcu.c", "urcu_memb.c"}, header: "urcu/urcu-qsbr.h", libs: []string{"urcu-qsbr", "urcu-memb"},
		Package: "liburcu-dev", About: "liburcu"},
	{sources: []string{"ck.c"}, header: "ck_epoch.h", libs: []string{"ck"},
		Package: "libck-dev", About: "ck_epoch"},
}

// flags are how rivals are compiled. Libraries may reach thread-local variables by a call of
// __tls_get_addr, which a program's own code never does: liburcu's sections would take four
// times as long. initial-exec forbids it, and has such a library loaded when the process starts.
var flags = []string{"-O2", "-std=gnu11", "-Wall", "-Wextra", "-shared", "-fPIC", "-ftls-model=initial-exec", "-pthread"}

// compiler is $CC, which may be several words as "ccache gcc" is, or gcc.
func compiler() ([]string, error) {
	words := strings.Fields(os.Getenv("CC"))
	if len(words) == 0 {
		words = []string{"gcc"}
	}
	path, err := exec.LookPath(words[0])
	if err != nil {
		return nil, &MissingError{words[0], "gcc"}
	}
	return append([]string{path}, words[1:]...), nil
}

// compile runs the compiler. The error ends with what that says.
func compile(what string, stdin string, args ...string) error {
	cc, err := compiler()
	if err != nil {
		return err
	}
	command := exec.Command(cc[0], append(cc[1:], args...)...)
	command.Env = append(os.Environ(), "LC_ALL=C") // Check reads what it says
	command.Stdin = strings.NewReader(stdin)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("compiling %s: %s: %w\n%s", what, strings.Join(cc, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// Check looks for compiler and header. The error is a *MissingError if one isn't there.
func (r *Rival) Check() error {
	err := compile("a line that includes "+r.header, "#include <"+r.header+">\n", "-E", "-x", "c", "-o", os.DevNull, "-")
	if err == nil {
		return nil
	}
	// gcc's words, and clang's.
	for _, reason := range []string{r.header + ": No such file", "'" + r.header + "' file not found"} {
		if strings.Contains(err.Error(), reason) {
			return &MissingError{r.header, r.Package}
		}
	}
	return err
}

// Compile makes a library in dir, to be preloaded and given to Load, and returns its path.
// The error is a *MissingError if compiler or header isn't there.
func (r *Rival) Compile(dir string) (path string, err error) { return r.compile(dir, flags) }

func (r *Rival) compile(dir string, flags []string) (path string, err error) {
	if err := r.Check(); err != nil {
		return "", err
	}
	if err := unpack(dir); err != nil {
		return "", err
	}
	path = filepath.Join(dir, strings.TrimSuffix(r.sources[0], ".c")+".so")
	args := append(slices.Clone(flags), "-o", path)
	for _, source := range r.sources {
		args = append(args, filepath.Join(dir, source))
	}
	for _, lib := range r.libs {
		args = append(args, "-l"+lib)
	}
	return path, compile(strings.Join(r.sources, " and "), "", args...)
}

// Version is that of the installed Debian package, for the libraries don't tell theirs;
// empty elsewhere.
func (r *Rival) Version() string {
	version, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", r.Package).Output()
	if err != nil {
		return ""
	}
	return string(version)
}

// unpack writes all sources into dir, side by side.
func unpack(dir string) error {
	return fs.WalkDir(sources, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := sources.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, filepath.Base(name)), text, 0o600)
	})
}
