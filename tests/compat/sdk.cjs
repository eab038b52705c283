// Every operation through the SDK for JavaScript, its typed errors and its paginators.
//
// Environment: NODE_PATH (where the SDK is), OPERATIONS (the names of all that the service has, by commas), CANARIES (a
// folder for every secret that is made here, a file each), HSM_KMS and DATA (the program and its data folder), and what
// the service wrote for shells.
"use strict";

const assert = require("node:assert/strict");
const { execFileSync } = require("node:child_process");
const crypto = require("node:crypto");
const { readFileSync, writeFileSync } = require("node:fs");
const path = require("node:path");

const kmsSdk = require("@aws-sdk/client-kms");
const stsSdk = require("@aws-sdk/client-sts");

const { AWS_REGION: REGION, AWS_ACCOUNT_ID: ACCOUNT, CANARIES, DATA, HSM_KMS } = process.env;
const OFFERED = new Set(process.env.OPERATIONS.split(","));
const REPLICAS = "sa-east-1";
const ABSENT = "00000000-0000-4000-8000-000000000000";
const ROOT = `arn:aws:iam::${ACCOUNT}:root`;
const succeeded = new Set();

/** A client that notes which operations succeeded, and gives each as a method: `createKey(…)`. */
function client(sdk, type, credentials) {
  const made = new type({ region: REGION, maxAttempts: 1, ...(credentials && { credentials }) });
  const note = (next, context) => async (args) => {
    const answer = await next(args);
    assert.equal(answer.response.headers["content-type"].includes("json"), sdk === kmsSdk);
    succeeded.add(context.commandName.replace(/Command$/, ""));
    return answer;
  };
  made.middlewareStack.add(note, { step: "deserialize", priority: "low" });
  const send = (name) => (input = {}) => made.send(new sdk[`${name}Command`](input));
  return new Proxy(made, {
    get: (client, name) => client[name] ?? send(name[0].toUpperCase() + name.slice(1)),
  });
}

const kms = client(kmsSdk, kmsSdk.KMSClient);
const sts = client(stsSdk, stsSdk.STSClient);

/** `error` is one of the SDK's classes, or the name of an error that the model does not have. */
async function refused(error, promise) {
  const named = typeof error === "string";
  const thrown = await promise.then(
    () => assert.fail("it was not refused"),
    (thrown) => thrown,
  );
  assert.equal(thrown.name, named ? error : error.name, `${thrown.name}: ${thrown.message}`);
  assert.ok(named || thrown instanceof error);
  assert.match(thrown.$metadata.requestId, /^[0-9a-f-]{36}$/);
  return thrown.message;
}

function keepCanary(name, secret) {
  writeFileSync(path.join(CANARIES, `javascript-${name}`), secret);
}

const arn = (keyId) => `arn:aws:kms:${REGION}:${ACCOUNT}:key/${keyId}`;
const newKey = async (input) => (await kms.createKey(input)).KeyMetadata.KeyId;
const same = (one, other) => assert.ok(Buffer.from(one).equals(Buffer.from(other)));

async function all(paginate, input, member, pageSize) {
  const found = [];
  for await (const page of paginate({ client: kms, pageSize }, input)) {
    assert.ok(page[member].length <= pageSize);
    found.push(...page[member]);
  }
  return found;
}

async function keys() {
  const made = (await kms.createKey({ Description: "ünï", Tags: [{ TagKey: "a", TagValue: "1" }] })).KeyMetadata;
  const KeyId = made.KeyId;
  assert.equal(made.Arn, arn(KeyId));
  assert.ok(made.CreationDate instanceof Date && made.KeyState === "Enabled" && made.Description === "ünï");
  assert.deepEqual((await kms.describeKey({ KeyId })).KeyMetadata, made);
  await Promise.all([1, 2, 3, 4].map(() => kms.createKey()));
  const listed = await all(kmsSdk.paginateListKeys, {}, "Keys", 2);
  assert.equal(new Set(listed.map((key) => key.KeyId)).size, listed.length);
  assert.ok(listed.some((key) => key.KeyId === KeyId));
  await kms.updateKeyDescription({ KeyId, Description: "another" });
  await kms.disableKey({ KeyId });
  const message = await refused(kmsSdk.DisabledException, kms.encrypt({ KeyId, Plaintext: Buffer.from("x") }));
  assert.equal(message, `${arn(KeyId)} is disabled.`);
  await kms.enableKey({ KeyId });
  const deletion = await kms.scheduleKeyDeletion({ KeyId, PendingWindowInDays: 7 });
  assert.equal(deletion.KeyState, "PendingDeletion");
  const days = (deletion.DeletionDate - made.CreationDate) / 86_400_000;
  assert.ok(days >= 7 && days < 7.1, `${days} days`);
  await refused(kmsSdk.KMSInvalidStateException, kms.scheduleKeyDeletion({ KeyId }));
  assert.equal((await kms.cancelKeyDeletion({ KeyId })).KeyId, arn(KeyId));
  assert.equal((await kms.describeKey({ KeyId })).KeyMetadata.KeyState, "Disabled");
  assert.deepEqual((await kms.getKeyLastUsage({ KeyId })).KeyLastUsage, {});

  await refused(kmsSdk.NotFoundException, kms.describeKey({ KeyId: ABSENT }));
  await refused(kmsSdk.InvalidArnException, kms.describeKey({ KeyId: "arn:aws:kms:nonsense" }));
  await refused(kmsSdk.InvalidMarkerException, kms.listKeys({ Marker: "nonsense" }));
  await refused("ValidationException", kms.scheduleKeyDeletion({ KeyId, PendingWindowInDays: 6 }));
}

async function names() {
  const [one, other] = [await newKey(), await newKey()];
  const AliasNames = [0, 1, 2].map((number) => `alias/javascript/${number}`);
  for (const AliasName of AliasNames) await kms.createAlias({ AliasName, TargetKeyId: one });
  const listed = await all(kmsSdk.paginateListAliases, { KeyId: one }, "Aliases", 2);
  assert.deepEqual(listed.map((alias) => alias.AliasName), AliasNames);
  await kms.updateAlias({ AliasName: AliasNames[0], TargetKeyId: other });
  assert.equal((await kms.describeKey({ KeyId: AliasNames[0] })).KeyMetadata.KeyId, other);
  await kms.deleteAlias({ AliasName: AliasNames[0] });
  await refused(kmsSdk.NotFoundException, kms.deleteAlias({ AliasName: AliasNames[0] }));
  const again = kms.createAlias({ AliasName: AliasNames[1], TargetKeyId: other });
  await refused(kmsSdk.AlreadyExistsException, again);

  const Tags = ["a", "b", "c"].map((TagKey) => ({ TagKey, TagValue: "ü" }));
  await kms.tagResource({ KeyId: one, Tags });
  await kms.untagResource({ KeyId: one, TagKeys: ["b"] });
  const tags = await all(kmsSdk.paginateListResourceTags, { KeyId: one }, "Tags", 1);
  assert.deepEqual(tags, [Tags[0], Tags[2]]);
  const reserved = [{ TagKey: "aws:x", TagValue: "" }];
  await refused(kmsSdk.TagException, kms.tagResource({ KeyId: one, Tags: reserved }));

  assert.deepEqual((await kms.listKeyPolicies({ KeyId: one })).PolicyNames, ["default"]);
  const policy = JSON.parse((await kms.getKeyPolicy({ KeyId: one })).Policy);
  assert.deepEqual(policy.Statement[0].Principal, { AWS: ROOT });
  const Policy = JSON.stringify({ ...policy, Id: "changed" }, null, 2);
  await kms.putKeyPolicy({ KeyId: one, Policy });
  assert.equal((await kms.getKeyPolicy({ KeyId: one, PolicyName: "default" })).Policy, Policy);
  await refused(kmsSdk.MalformedPolicyDocumentException, kms.putKeyPolicy({ KeyId: one, Policy: "{" }));
}

async function symmetric() {
  const [KeyId, other] = [await newKey(), await newKey()];
  const EncryptionContext = { purpose: "test", stage: "ünï" };
  const Plaintext = crypto.randomBytes(4096);
  keepCanary("plaintext", Plaintext);
  const { CiphertextBlob } = await kms.encrypt({ KeyId, Plaintext, EncryptionContext });
  const opened = await kms.decrypt({ CiphertextBlob, EncryptionContext, KeyId });
  same(opened.Plaintext, Plaintext);
  assert.equal(opened.KeyId, arn(KeyId));
  const moved = await kms.reEncrypt({
    CiphertextBlob,
    SourceEncryptionContext: EncryptionContext,
    DestinationKeyId: other,
  });
  assert.equal(moved.SourceKeyId, arn(KeyId));
  same((await kms.decrypt({ CiphertextBlob: moved.CiphertextBlob })).Plaintext, Plaintext);
  const dataKey = await kms.generateDataKey({ KeyId, KeySpec: "AES_256", EncryptionContext });
  keepCanary("data-key", dataKey.Plaintext);
  same((await kms.decrypt({ CiphertextBlob: dataKey.CiphertextBlob, EncryptionContext })).Plaintext, dataKey.Plaintext);
  const later = await kms.generateDataKeyWithoutPlaintext({ KeyId, NumberOfBytes: 24 });
  assert.equal(later.Plaintext, undefined);
  assert.equal((await kms.decrypt({ CiphertextBlob: later.CiphertextBlob })).Plaintext.length, 24);
  assert.equal((await kms.generateRandom({ NumberOfBytes: 33 })).Plaintext.length, 33);
  assert.equal((await kms.getKeyLastUsage({ KeyId })).KeyLastUsage.Operation, "Decrypt");

  await refused(kmsSdk.InvalidCiphertextException, kms.decrypt({ CiphertextBlob }));
  const named = kms.decrypt({ CiphertextBlob, EncryptionContext, KeyId: other });
  await refused(kmsSdk.IncorrectKeyException, named);
  await refused(kmsSdk.DryRunOperationException, kms.generateDataKey({ KeyId, NumberOfBytes: 8, DryRun: true }));
  await refused("ValidationException", kms.generateDataKey({ KeyId }));
}

async function dataKeyPairs() {
  const KeyId = await newKey();
  for (const KeyPairSpec of ["RSA_2048", "ECC_NIST_P384", "ECC_NIST_EDWARDS25519"]) {
    for (const withPlaintext of [true, false]) {
      const operation = withPlaintext ? kms.generateDataKeyPair : kms.generateDataKeyPairWithoutPlaintext;
      const made = await operation({ KeyId, KeyPairSpec });
      const opened = await kms.decrypt({ CiphertextBlob: made.PrivateKeyCiphertextBlob });
      assert.equal("PrivateKeyPlaintext" in made, withPlaintext);
      if (withPlaintext) same(made.PrivateKeyPlaintext, opened.Plaintext);
      keepCanary(`${KeyPairSpec}-${withPlaintext}`, opened.Plaintext);
      const key = crypto.createPrivateKey({ key: Buffer.from(opened.Plaintext), format: "der", type: "pkcs8" });
      same(crypto.createPublicKey(key).export({ format: "der", type: "spki" }), made.PublicKey);
    }
  }
  const sm2 = kms.generateDataKeyPair({ KeyId, KeyPairSpec: "SM2" });
  await refused(kmsSdk.UnsupportedOperationException, sm2);
}

async function publicKey(KeyId) {
  const answer = await kms.getPublicKey({ KeyId });
  assert.equal(answer.KeyId, arn(KeyId));
  return crypto.createPublicKey({ key: Buffer.from(answer.PublicKey), format: "der", type: "spki" });
}

async function signatures() {
  const Message = Buffer.from("a message");
  const pss = { padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: crypto.constants.RSA_PSS_SALTLEN_DIGEST };
  for (const [KeySpec, SigningAlgorithm, hash, options] of [
    ["RSA_2048", "RSASSA_PSS_SHA_256", "sha256", pss],
    ["RSA_2048", "RSASSA_PKCS1_V1_5_SHA_512", "sha512", {}],
    ["ECC_NIST_P256", "ECDSA_SHA_256", "sha256", {}],
    ["ECC_SECG_P256K1", "ECDSA_SHA_256", "sha256", {}],
    ["ECC_NIST_EDWARDS25519", "ED25519_SHA_512", null, {}],
  ]) {
    const KeyId = await newKey({ KeySpec, KeyUsage: "SIGN_VERIFY" });
    const { Signature } = await kms.sign({ KeyId, Message, SigningAlgorithm });
    assert.ok(crypto.verify(hash, Message, { key: await publicKey(KeyId), ...options }, Signature), SigningAlgorithm);
    assert.equal((await kms.verify({ KeyId, Message, SigningAlgorithm, Signature })).SignatureValid, true);
    if (hash) {
      const digest = { KeyId, Message: crypto.hash(hash, Message, "buffer"), MessageType: "DIGEST", SigningAlgorithm };
      assert.equal((await kms.verify({ ...digest, Signature })).SignatureValid, true);
    }
    const other = { KeyId, Message: Buffer.from("another"), SigningAlgorithm, Signature };
    await refused(kmsSdk.KMSInvalidSignatureException, kms.verify(other));
  }
  const mac = { KeyId: await newKey({ KeySpec: "HMAC_384", KeyUsage: "GENERATE_VERIFY_MAC" }), Message };
  const { Mac } = await kms.generateMac({ ...mac, MacAlgorithm: "HMAC_SHA_384" });
  assert.equal(Mac.length, 48);
  assert.equal((await kms.verifyMac({ ...mac, MacAlgorithm: "HMAC_SHA_384", Mac })).MacValid, true);
  const spoilt = Buffer.from(Mac).fill(0, 47);
  spoilt[47] = Mac[47] ^ 1;
  await refused(kmsSdk.KMSInvalidMacException, kms.verifyMac({ ...mac, MacAlgorithm: "HMAC_SHA_384", Mac: spoilt }));
}

async function agreementAndRsa() {
  const KeyId = await newKey({ KeySpec: "ECC_NIST_P521", KeyUsage: "KEY_AGREEMENT" });
  const own = crypto.generateKeyPairSync("ec", { namedCurve: "secp521r1" });
  const PublicKey = own.publicKey.export({ format: "der", type: "spki" });
  const agreed = await kms.deriveSharedSecret({ KeyId, KeyAgreementAlgorithm: "ECDH", PublicKey });
  keepCanary("shared-secret", agreed.SharedSecret);
  same(agreed.SharedSecret, crypto.diffieHellman({ privateKey: own.privateKey, publicKey: await publicKey(KeyId) }));

  // No key of SoftHSM does this; tests/contract/lattice.py has one that does.
  const kem = { KeyId, EncapsulationAlgorithm: "ML_KEM" };
  await refused(kmsSdk.InvalidKeyUsageException, kms.encapsulate(kem));
  const SharedSecretCiphertextBlob = Buffer.alloc(768);
  await refused(kmsSdk.InvalidKeyUsageException, kms.decapsulate({ ...kem, SharedSecretCiphertextBlob }));

  const rsa = await newKey({ KeySpec: "RSA_2048", KeyUsage: "ENCRYPT_DECRYPT" });
  const Plaintext = crypto.randomBytes(64);
  keepCanary("oaep", Plaintext);
  const key = { key: await publicKey(rsa), padding: crypto.constants.RSA_PKCS1_OAEP_PADDING, oaepHash: "sha256" };
  const EncryptionAlgorithm = "RSAES_OAEP_SHA_256";
  const theirs = crypto.publicEncrypt(key, Plaintext);
  same((await kms.decrypt({ KeyId: rsa, CiphertextBlob: theirs, EncryptionAlgorithm })).Plaintext, Plaintext);
  const { CiphertextBlob } = await kms.encrypt({ KeyId: rsa, Plaintext, EncryptionAlgorithm });
  same((await kms.decrypt({ KeyId: rsa, CiphertextBlob, EncryptionAlgorithm })).Plaintext, Plaintext);
  await refused(kmsSdk.InvalidKeyUsageException, kms.generateDataKey({ KeyId: rsa, NumberOfBytes: 8 }));
}

async function rotation() {
  const KeyId = await newKey();
  assert.equal((await kms.getKeyRotationStatus({ KeyId })).KeyRotationEnabled, false);
  await kms.enableKeyRotation({ KeyId, RotationPeriodInDays: 90 });
  const status = await kms.getKeyRotationStatus({ KeyId });
  assert.ok(status.KeyRotationEnabled && status.RotationPeriodInDays === 90);
  assert.ok(status.NextRotationDate instanceof Date);
  await kms.disableKeyRotation({ KeyId });
  const { CiphertextBlob } = await kms.encrypt({ KeyId, Plaintext: Buffer.from("before") });
  assert.equal((await kms.rotateKeyOnDemand({ KeyId })).KeyId, KeyId);
  const rotations = async () => (await kms.listKeyRotations({ KeyId })).Rotations;
  for (let tries = 0; (await rotations()).length === 0; tries += 1) {
    assert.ok(tries < 300, "the rotation does not end");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.equal((await rotations())[0].RotationType, "ON_DEMAND");
  same((await kms.decrypt({ CiphertextBlob })).Plaintext, Buffer.from("before"));
  await refused("ValidationException", kms.enableKeyRotation({ KeyId, RotationPeriodInDays: 89 }));
}

async function imports() {
  const KeyId = await newKey({ Origin: "EXTERNAL" });
  const encrypt = () => kms.encrypt({ KeyId, Plaintext: Buffer.from("x") });
  await refused(kmsSdk.KMSInvalidStateException, encrypt());
  const material = crypto.randomBytes(32);
  keepCanary("import", material);
  const wanted = { KeyId, WrappingAlgorithm: "RSAES_OAEP_SHA_256", WrappingKeySpec: "RSA_2048" };
  const { ImportToken, PublicKey, ParametersValidTo } = await kms.getParametersForImport(wanted);
  assert.ok(ParametersValidTo > new Date());
  const key = crypto.createPublicKey({ key: Buffer.from(PublicKey), format: "der", type: "spki" });
  const oaep = { key, padding: crypto.constants.RSA_PKCS1_OAEP_PADDING, oaepHash: "sha256" };
  const EncryptedKeyMaterial = crypto.publicEncrypt(oaep, material);
  const ExpirationModel = "KEY_MATERIAL_DOES_NOT_EXPIRE";
  await kms.importKeyMaterial({ KeyId, ImportToken, EncryptedKeyMaterial, ExpirationModel });
  const { CiphertextBlob } = await encrypt();
  await kms.deleteImportedKeyMaterial({ KeyId });
  await refused(kmsSdk.KMSInvalidStateException, kms.decrypt({ CiphertextBlob }));
}

async function grants() {
  const KeyId = await newKey();
  const wanted = { KeyId, GranteePrincipal: ROOT, RetiringPrincipal: ROOT, Operations: ["Encrypt", "Decrypt"] };
  const Constraints = { EncryptionContextSubset: { a: "1" } };
  const made = await kms.createGrant({ ...wanted, Constraints, Name: "javascript" });
  const used = { KeyId, Plaintext: Buffer.from("x"), GrantTokens: [made.GrantToken] };
  await kms.encrypt({ ...used, EncryptionContext: { a: "1" } });
  const others = [await kms.createGrant(wanted), await kms.createGrant(wanted)];
  const listed = await all(kmsSdk.paginateListGrants, { KeyId }, "Grants", 2);
  assert.equal(listed.length, 3);
  const grant = listed.find((grant) => grant.GrantId === made.GrantId);
  assert.deepEqual([grant.Constraints, grant.Operations], [Constraints, ["Decrypt", "Encrypt"]]);
  const retirable = await all(kmsSdk.paginateListRetirableGrants, { RetiringPrincipal: ROOT }, "Grants", 2);
  assert.ok(others.every((other) => retirable.some((grant) => grant.GrantId === other.GrantId)));
  await kms.retireGrant({ GrantToken: made.GrantToken });
  await kms.revokeGrant({ KeyId, GrantId: others[0].GrantId });
  assert.equal((await kms.listGrants({ KeyId })).Grants.length, 1);
  await refused(kmsSdk.InvalidGrantTokenException, kms.encrypt(used));
}

/** An operator's command; a `-` among the arguments is the document. */
function principal(command, args, document) {
  const input = document && JSON.stringify(document);
  const said = execFileSync(HSM_KMS, ["principal", command, "--data", DATA, ...args], { input, encoding: "utf8" });
  return said.trim() ? JSON.parse(said) : undefined;
}

const signedBy = ({ AccessKeyId, SecretAccessKey, SessionToken }) => ({
  accessKeyId: AccessKeyId,
  secretAccessKey: SecretAccessKey,
  sessionToken: SessionToken,
});

async function sessions() {
  assert.equal((await sts.getCallerIdentity()).Arn, ROOT);
  const session = (await sts.getSessionToken({ DurationSeconds: 900 })).Credentials;
  assert.ok(session.Expiration > new Date());
  keepCanary("session-token", session.SessionToken);
  assert.equal((await client(stsSdk, stsSdk.STSClient, signedBy(session)).getCallerIdentity()).Arn, ROOT);

  principal("create-user", ["--user-name", "javascript"]);
  const { AccessKey } = principal("create-access-key", ["--user-name", "javascript"]);
  const may = (Action, on) => ({ Version: "2012-10-17", Statement: [{ Effect: "Allow", Action, ...on }] });
  const trust = may("sts:AssumeRole", { Principal: { AWS: `arn:aws:iam::${ACCOUNT}:user/javascript` } });
  principal("create-role", ["--role-name", "javascript", "--assume-role-policy-document", "-"], trust);
  const own = ["--role-name", "javascript", "--policy-name", "own", "--policy-document", "-"];
  principal("put-role-policy", own, may("kms:ListKeys", { Resource: "*" }));
  const user = signedBy(AccessKey);
  const role = { RoleArn: `arn:aws:iam::${ACCOUNT}:role/javascript`, RoleSessionName: "js" };
  const given = (await client(stsSdk, stsSdk.STSClient, user).assumeRole(role)).Credentials;
  const asRole = client(kmsSdk, kmsSdk.KMSClient, signedBy(given));
  assert.ok((await asRole.listKeys()).Keys.length > 0);
  await refused("AccessDeniedException", asRole.createKey());
  await refused("AccessDeniedException", client(kmsSdk, kmsSdk.KMSClient, user).listKeys());
  await refused("AccessDenied", sts.assumeRole(role));
}

async function customKeyStores() {
  const KeyStorePassword = readFileSync(path.join(DATA, "cluster-password"), "utf8");
  const pem = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
  const given = { CustomKeyStoreName: "js", TrustAnchorCertificate: pem, KeyStorePassword };
  const cluster = { CloudHsmClusterId: "cluster-softhsm3dev" };
  await refused(kmsSdk.CloudHsmClusterNotFoundException,
    kms.createCustomKeyStore({ ...given, CloudHsmClusterId: "cluster-softhsm7dev" }));
  const { CustomKeyStoreId } = await kms.createCustomKeyStore({ ...given, ...cluster });
  const store = { CustomKeyStoreId };
  const reach = async (state) => {
    for (;;) {
      const [found] = (await kms.describeCustomKeyStores(store)).CustomKeyStores;
      if (!["CONNECTING", "DISCONNECTING"].includes(found.ConnectionState)) {
        assert.equal(found.ConnectionState, state);
        return;
      }
    }
  };
  await refused(kmsSdk.CustomKeyStoreInvalidStateException, kms.disconnectCustomKeyStore(store));
  await kms.updateCustomKeyStore({ ...store, NewCustomKeyStoreName: "js too" });
  await kms.connectCustomKeyStore(store);
  await reach("CONNECTED");
  assert.equal((await kms.generateRandom({ ...store, NumberOfBytes: 5 })).Plaintext.length, 5);
  await kms.disconnectCustomKeyStore(store);
  await reach("DISCONNECTED");
  await kms.deleteCustomKeyStore(store);
  await refused(kmsSdk.CustomKeyStoreNotFoundException, kms.describeCustomKeyStores(store));
}

async function multiRegionKeys() {
  const { KeyId } = (await kms.createKey({ MultiRegion: true })).KeyMetadata;
  const { CiphertextBlob } = await kms.encrypt({ KeyId, Plaintext: Buffer.from("both") });
  const replica = (await kms.replicateKey({ KeyId, ReplicaRegion: REPLICAS })).ReplicaKeyMetadata;
  assert.equal(replica.MultiRegionConfiguration.MultiRegionKeyType, "REPLICA");
  const there = new kmsSdk.KMSClient({ region: REPLICAS, maxAttempts: 1 });
  const opened = await there.send(new kmsSdk.DecryptCommand({ CiphertextBlob }));
  assert.equal(Buffer.from(opened.Plaintext).toString(), "both");
  await refused(kmsSdk.AlreadyExistsException, kms.replicateKey({ KeyId, ReplicaRegion: REPLICAS }));
  await kms.updatePrimaryRegion({ KeyId, PrimaryRegion: REPLICAS });
  const { MultiRegionConfiguration } = (await kms.describeKey({ KeyId })).KeyMetadata;
  assert.equal(MultiRegionConfiguration.PrimaryKey.Region, REPLICAS);
}

async function main() {
  const later = [["EnableKeyRotation", rotation], ["ImportKeyMaterial", imports]];
  const offered = later.filter(([operation]) => OFFERED.has(operation)).map(([, family]) => family);
  const families = [
    multiRegionKeys, keys, names, symmetric, dataKeyPairs, signatures, agreementAndRsa, grants, sessions, customKeyStores,
  ];
  for (const family of [...families, ...offered]) await family();
  const missing = [...OFFERED].filter((operation) => !succeeded.has(operation));
  assert.deepEqual(missing, [], "without a good answer here");
  console.log(`${succeeded.size} operations`);
}

main();
