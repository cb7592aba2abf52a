"""The KMS beside the strict EC2: moto's, made as strict as AWS where a wallet's key depends on it.

What is changed in moto (each is a difference that a signer would trip over with the real KMS):
  - Sign with MessageType=DIGEST signs the digest as it is; moto hashes it once more, and the signature is one of something
    else. Verify likewise. A digest has to be as long as the algorithm's hash;
  - a key that is disabled or waits for its deletion signs nothing;
  - GetPublicKey names the key by its ARN and says its KeySpec; a symmetric key has no public key;
  - half of the signatures have the upper s, as KMS gives them: Ethereum takes none of these.
"""

import json
import os

# moto reads these once, when the first of its modules is imported, which is here: the EC2 that follows needs them.
os.environ["MOTO_ENABLE_AMI_VALIDATION"] = "true"
os.environ["MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION"] = "true"

from cryptography.exceptions import InvalidSignature  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402
from cryptography.hazmat.primitives.asymmetric.utils import (  # noqa: E402
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from moto.core.exceptions import JsonRESTError  # noqa: E402
from moto.kms import models as kms_models  # noqa: E402
from moto.kms import responses as kms_responses  # noqa: E402
from moto.kms import utils as kms_utils  # noqa: E402

KmsResponse = kms_responses.KmsResponse
SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def kms_error(code, message):
    return JsonRESTError(code, message)


class Digest(bytes):
    """A message that is a hash already. The mark travels through moto's code to the key."""


def is_digest(response):
    return json.loads(response.body).get("MessageType") == "DIGEST"


moto_get_param = KmsResponse._get_param


def get_param(self, name, if_none=None):
    value = moto_get_param(self, name, if_none)
    return Digest(value) if name == "Message" and is_digest(self) else value


KmsResponse._get_param = get_param


def algorithm_for(key, message, signing_algorithm):
    """What the key's library shall do with the message."""
    algorithm = key._ECDSAPrivateKey__hash_algorithm(signing_algorithm)
    if not isinstance(message, Digest):
        return ec.ECDSA(algorithm)
    if len(message) != algorithm.digest_size:
        raise kms_error("ValidationException", f"Digest is invalid length for algorithm {signing_algorithm}.")
    return ec.ECDSA(Prehashed(algorithm))


signatures = 0


def sign(self, message, signing_algorithm):
    global signatures
    kms_utils.validate_signing_algorithm(signing_algorithm, self.valid_signing_algorithms)
    signature = self.private_key.sign(bytes(message), algorithm_for(self, message, signing_algorithm))
    if not isinstance(self.private_key.curve, ec.SECP256K1):
        return signature
    # In turn, so that a test of two signatures has seen both.
    signatures += 1
    r, s = decode_dss_signature(signature)
    low = min(s, SECP256K1_ORDER - s)
    return encode_dss_signature(r, low if signatures % 2 else SECP256K1_ORDER - low)


def verify(self, message, signature, signing_algorithm):
    kms_utils.validate_signing_algorithm(signing_algorithm, self.valid_signing_algorithms)
    algorithm = algorithm_for(self, message, signing_algorithm)
    try:
        self.private_key.public_key().verify(signature, bytes(message), algorithm)
        return True
    except InvalidSignature:
        return False


kms_utils.ECDSAPrivateKey.sign, kms_utils.ECDSAPrivateKey.verify = sign, verify


def usable(backend, key_id):
    key = backend.describe_key(key_id)
    if key.key_state == "PendingDeletion":
        raise kms_error("KMSInvalidStateException", f"{key.arn} is pending deletion.")
    if not key.enabled or key.key_state == "Disabled":
        raise kms_error("DisabledException", f"{key.arn} is disabled.")
    return key


moto_kms_sign = kms_models.KmsBackend.sign


def kms_sign(self, key_id, message, signing_algorithm):
    usable(self, key_id)
    return moto_kms_sign(self, key_id, message, signing_algorithm)


kms_models.KmsBackend.sign = kms_sign

moto_get_public_key = KmsResponse.get_public_key


def get_public_key(self):
    key_id = self._get_param("KeyId")
    self._validate_key_id(key_id)
    key = usable(self.kms_backend, key_id)
    if key.key_spec == "SYMMETRIC_DEFAULT":
        raise kms_error("UnsupportedOperationException", f"{key.arn} is not an asymmetric key.")
    answer = json.loads(moto_get_public_key(self))
    return json.dumps({**answer, "KeyId": key.arn, "KeySpec": key.key_spec})


KmsResponse.get_public_key = get_public_key

