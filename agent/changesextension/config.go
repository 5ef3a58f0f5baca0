package changesextension

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"

	"go.opentelemetry.io/collector/component"

	"github.com/evenkeel/evenkeel/agent/internal/transport"
)

// SocketName is the name of the socket in the data directory.
const SocketName = "changes.sock"

// Config is the extension's section of the pipeline.
type Config struct {
	// Endpoints are the servers, without paths.
	Endpoints []string `mapstructure:"endpoints"`
	// Auth is the extension that adds the token; none when nil.
	Auth *component.ID `mapstructure:"auth"`
	// Directory keeps what was taken and not yet delivered; it must exist.
	Directory string `mapstructure:"directory"`
	// Address is the loopback address of the door; empty: the socket changes.sock in the directory.
	Address string `mapstructure:"address"`
	// PackageStatus is the file in which dpkg keeps what is installed; empty: packages are not watched.
	PackageStatus string `mapstructure:"package_status"`
}

// Validate checks every field.
func (c *Config) Validate() error {
	if len(c.Endpoints) == 0 {
		return errors.New("endpoints: at least one server must be given")
	}
	for _, endpoint := range c.Endpoints {
		if err := transport.CheckURL(endpoint); err != nil {
			return fmt.Errorf("endpoints: %q %w", endpoint, err)
		}
	}
	if c.Directory == "" {
		return errors.New("directory must be given")
	}
	if err := CheckAddress(c.Address); err != nil {
		return fmt.Errorf("address %w", err)
	}
	return nil
}

// CheckAddress reports what is wrong with the address of the door. Only this machine may use it: it asks for no token.
func CheckAddress(address string) error {
	if address == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("%q is no address: write it like 127.0.0.1:13134", address)
	}
	if ip, err := netip.ParseAddr(host); err != nil || !ip.IsLoopback() {
		return fmt.Errorf("%q is not of this machine alone: use 127.0.0.1 or [::1], or leave it empty for a socket in the data directory", address)
	}
	return nil
}

// Door is where a client finds the door of an agent: a network and an address, as net.Dial takes them.
func Door(directory, address string) (network, where string) {
	if address != "" {
		return "tcp", address
	}
	return "unix", filepath.Join(directory, SocketName)
}
