package layout

import "path/filepath"

// Folder is the lab's data folder; the methods name what is in it.
type Folder string

func (f Folder) in(parts ...string) string {
	return filepath.Join(append([]string{string(f)}, parts...)...)
}

// Socket is where the lab takes orders.
func (f Folder) Socket() string { return f.in("lab.sock") }

// Lock is held while a lab runs.
func (f Folder) Lock() string { return f.in("lab.lock") }

// Stamp says which lab the folder belongs to.
func (f Folder) Stamp() string { return f.in("lab.json") }

// Config is the generated configuration of the server.
func (f Folder) Config() string { return f.in("evenkeel.yaml") }

// Key is the secret between server and executor.
func (f Folder) Key() string { return f.in("director.key") }

// Faults has a JSON line for each begin and end of a fault.
func (f Folder) Faults() string { return f.in("faults.jsonl") }

// Executed has a JSON line for each command that the director carried out.
func (f Folder) Executed() string { return f.in("executed.jsonl") }

// Users has a JSON line for each second of what users got.
func (f Folder) Users() string { return f.in("users.jsonl") }

// Logs is where the processes' logs are.
func (f Folder) Logs() string { return f.in("logs") }

// Log is a process's log.
func (f Folder) Log(process string) string { return f.in("logs", process+".log") }

// Knobs is where the faults of our own processes are.
func (f Folder) Knobs() string { return f.in("knobs") }

// Knob is the file with the faults of one process.
func (f Folder) Knob(process string) string { return f.in("knobs", process+".json") }

// Tokens is where the agents' and the edge's tokens and the replicas' bundles are.
func (f Folder) Tokens() string { return f.in("tokens") }

// Token is the file with one token.
func (f Folder) Token(name string) string { return f.in("tokens", name+".token") }

// Bundle is the file with which a replica joins the others; it holds a private key.
func (f Folder) Bundle(replica string) string { return f.in("tokens", replica+".bundle") }

// State is the folder in which a process keeps its own data.
func (f Folder) State(process string) string { return f.in(process) }
