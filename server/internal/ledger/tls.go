package ledger

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// How long certificates of our own authority are good for. A peer's is signed anew in its last third, at a start or while it
// runs: replicas that were begun together would lose each other together.
const (
	caLife   = 20 * 365 * 24 * time.Hour
	peerLife = 3 * 365 * 24 * time.Hour
)

// authority is the small certificate authority of one ledger. Its key is on every replica: whoever is a member can
// change everything in the ledger anyway, and any of them must be able to take a new one in.
type authority struct {
	cert *x509.Certificate
	pem  []byte
	key  *ecdsa.PrivateKey
}

func newAuthority(now time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the key of the authority: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "evenkeel ledger"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(caLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign the authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the authority back: %w", err)
	}
	return &authority{cert: cert, pem: encodePEM("CERTIFICATE", der), key: key}, nil
}

// parseAuthority reads an authority that was written by keyPEM and pem.
func parseAuthority(certPEM, keyPEM []byte) (*authority, error) {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("certificate and key of the authority do not fit: %w", err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return nil, errors.New("it is no authority of a ledger")
	}
	return &authority{cert: pair.Leaf, pem: certPEM, key: key}, nil
}

func (a *authority) keyPEM() ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(a.key)
	if err != nil {
		return nil, fmt.Errorf("encode the key of the authority: %w", err)
	}
	return encodePEM("EC PRIVATE KEY", der), nil
}

// sign makes the certificate with which a replica both serves and calls.
func (a *authority) sign(name string, peer *url.URL, now time.Time) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(peerLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(peer.Hostname()); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{peer.Hostname()}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("sign the certificate of %s: %w", name, err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encode a key: %w", err)
	}
	return encodePEM("CERTIFICATE", der), encodePEM("EC PRIVATE KEY", keyDER), nil
}

func serial() *big.Int {
	n, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)) // never fails
	return n
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// TLSFiles are certificates that the operator gives; all three or none.
type TLSFiles struct{ CA, Cert, Key string }

func (f TLSFiles) empty() bool { return f == TLSFiles{} }

// check finds out before etcd does, which would only say so in the middle of a handshake.
func (f TLSFiles) check() error {
	if f.CA == "" || f.Cert == "" || f.Key == "" {
		return &core.Error{
			Code: core.CodeInvalid, Message: "ca, cert and key of the ledger go together",
			Hint: "give all three, or none to use the ledger's own authority",
		}
	}
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return tlsProblem(err)
	}
	text, err := os.ReadFile(f.CA)
	if err != nil {
		return tlsProblem(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return tlsProblem(fmt.Errorf("%s holds no certificate", f.CA))
	}
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{use}}); err != nil {
			return tlsProblem(err)
		}
	}
	return nil
}

func tlsProblem(err error) error {
	return &core.Error{
		Code: core.CodeInvalid, Message: "the certificates of the ledger cannot be used", Err: err,
		Hint: "see ledger.tls in the configuration: the files must be there, and the certificate be signed by the authority, in date, and good for servers and clients",
	}
}

// info is what etcd reads. It loads the files anew for every connection, so renewed ones are taken without a restart.
func (f TLSFiles) info() transport.TLSInfo {
	return transport.TLSInfo{
		CertFile: f.Cert, KeyFile: f.Key, TrustedCAFile: f.CA, ClientCertAuth: true,
		// The authority signs members only. Which address one calls from, through a NAT perhaps, proves nothing.
		SkipClientSANVerify: true,
	}
}

// ownTLS are the files of our own authority below a ledger's directory.
func ownTLS(dir string) TLSFiles {
	at := func(name string) string { return filepath.Join(dir, "tls", name) }
	return TLSFiles{CA: at("ca.pem"), Cert: at("peer.pem"), Key: at("peer.key")}
}

func caKeyFile(dir string) string { return filepath.Join(dir, "tls", "ca.key") }

// loadAuthority reads the authority in dir; nil without an error when there is none.
func loadAuthority(dir string) (*authority, error) {
	certPEM, err := os.ReadFile(ownTLS(dir).CA)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // absent is not an error
	}
	if err != nil {
		return nil, tlsProblem(err)
	}
	keyPEM, err := os.ReadFile(caKeyFile(dir))
	if err != nil {
		return nil, tlsProblem(err)
	}
	a, err := parseAuthority(certPEM, keyPEM)
	if err != nil {
		return nil, tlsProblem(err)
	}
	return a, nil
}

// installAuthority writes it to dir.
func installAuthority(dir string, a *authority) error {
	keyPEM, err := a.keyPEM()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "tls"), 0o700); err != nil {
		return notUsable(dir, err)
	}
	// The certificate last: where it is, the key is too.
	for _, f := range []struct{ path, text string }{
		{caKeyFile(dir), string(keyPEM)},
		{ownTLS(dir).CA, string(a.pem)},
	} {
		if err := writeFile(f.path, f.text); err != nil {
			return notUsable(dir, err)
		}
	}
	return nil
}

// renewPeer sees to a certificate for name at peer that our authority signed and that is good for a while yet.
func renewPeer(dir string, a *authority, name string, peer *url.URL, now time.Time) error {
	files := ownTLS(dir)
	if pair, err := tls.LoadX509KeyPair(files.Cert, files.Key); err == nil {
		leaf := pair.Leaf
		if leaf.CheckSignatureFrom(a.cert) == nil && leaf.VerifyHostname(peer.Hostname()) == nil &&
			leaf.Subject.CommonName == name && now.Add(peerLife/3).Before(leaf.NotAfter) {
			return nil
		}
	}
	certPEM, keyPEM, err := a.sign(name, peer, now)
	if err != nil {
		return err
	}
	for _, f := range [][2]string{{files.Key, string(keyPEM)}, {files.Cert, string(certPEM)}} {
		if err := writeFile(f[0], f[1]); err != nil {
			return notUsable(dir, err)
		}
	}
	return nil
}

// renew sees to this replica's own certificate when our authority signs it. etcd reads the files for each connection.
func (l *Ledger) renew(now time.Time) error {
	if !l.self.TLS.empty() {
		return nil
	}
	a, err := loadAuthority(l.dir)
	if err != nil || a == nil {
		return err
	}
	peer, err := peerURL(l.self.Peer)
	if err != nil {
		return err
	}
	return renewPeer(l.dir, a, l.self.Name, peer, now)
}

// peerURL reads the address at which a replica is reached by the others.
func peerURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Port() == "" || !slices.Contains([]string{"", "/"}, u.Path) {
		return nil, &core.Error{
			Code: core.CodeInvalid, Message: fmt.Sprintf("%q is no address of a replica", text),
			Hint: "write it like https://10.0.0.4:8452; replicas speak TLS to each other only",
		}
	}
	u.Path = ""
	return u, nil
}
