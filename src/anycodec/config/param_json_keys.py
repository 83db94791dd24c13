"""The keys of the video system's `param.json`, and what each is here.

Every key is renamed, part of something composed, or left out for a reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

MODELS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(("VqVae", "vq_vae", "VqVae2"), ("dvae", "ema")),
        **dict.fromkeys(("VQVAE2", "vqvae2"), ("vqvae2", "ema")),
        **dict.fromkeys(("VQVAE2_OptVQ", "vqvae2optvq"), ("vqvae2", "optvq")),
        **dict.fromkeys(("TamingVQGAN", "taming_vqgan", "VQGAN"), ("vqgan", "vq")),
        "EMAVQ": ("vqgan", "ema"),
    }
)
"""`model_type` -> codec and quantizer here."""

RENAMED: Mapping[str, str] = MappingProxyType(
    {
        "data_args.seed": "seed",
        "data_args.num_threads": "data.workers",
        "train_args.num_steps": "train.steps",
        "train_args.lr": "train.optimizer.lr",
        "train_args.lr_decay": "train.schedule.gamma",
        "train_args.save_interval": "train.checkpoint_every",
        "train_args.validation_interval": "train.val_every",
        "train_args.wandb_log_interval": "train.log_every",
        "model_args.vocab_size": "codec.quantizer.codebook_size",
        "model_args.commitment_cost": "codec.quantizer.beta",
    }
)
CODEC_RENAMED: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "dvae": {
            "model_args.group_count": "codec.group_count",
            "model_args.n_hid": "codec.base_channels",
            "model_args.n_init": "codec.latent_channels",
        },
        "vqvae2": {
            "scaling_rates": "codec.rates",
            "model_args.hidden_channels": "codec.hidden_channels",
            "model_args.res_channels": "codec.res_channels",
            "model_args.nb_res_layers": "codec.res_blocks",
            "model_args.embed_dim": "codec.latent_channels",
        },
        "vqgan": {
            "model_args.n_init": "codec.embed_channels",
            "model_args.ddconfig.ch": "codec.base_channels",
            "model_args.ddconfig.ch_mult": "codec.channel_multipliers",
            "model_args.ddconfig.num_res_blocks": "codec.res_blocks",
            "model_args.ddconfig.z_channels": "codec.latent_channels",
            "model_args.ddconfig.dropout": "codec.dropout",
        },
    }
)
QUANTIZER_RENAMED: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "ema": {"model_args.decay": "codec.quantizer.decay"},
        "optvq": {
            "model_args.epsilon": "codec.quantizer.epsilon",
            "model_args.n_iters": "codec.quantizer.iterations",
        },
        "vq": {},
    }
)
COMPOSED = frozenset(
    {
        "model_type", "use_images", "use_wandb", "project_name", "data_process.train",
        "model_args.input_channels", "model_args.normalize_mode",
        "model_args.ddconfig.resolution", "model_args.ddconfig.attn_resolutions",
        "data_args.batch_size", "data_args.sequence_length", "data_args.training_data_files",
        "train_args.device", "train_args.use_gan", "train_args.disc_factor", "train_args.disc_weight",
        "train_args.disc_start", "train_args.pixel_loss_factor", "train_args.perceptual_loss_factor",
        "train_args.disc_lr", "train_args.disc_beta1", "train_args.disc_beta2",
    }
)  # fmt: skip
"""Keys that become more than one setting, or part of one."""
_VALIDATION = "validation is a share of data.root here (data.split), or a list in data.split.type=manifest"
_DERIVED = "derived here: channels from the data, grids from the codec"
WITHOUT: Mapping[str, str] = MappingProxyType(
    {
        "data_process.vaild": _VALIDATION,
        "data_args.validation_data_files": _VALIDATION,
        "data_args.device_id": "choose a GPU with CUDA_VISIBLE_DEVICES",
        "data_args.shard_id": "training is on one machine",
        "data_args.num_shards": "training is on one machine",
        "data_args.initial_prefetch_size": "data.prefetch counts batches a worker; its default is kept",
        "train_args.folder_name": "the folder is on the command line: anycodec train CONFIG --out DIR",
        "train_args.checkpoint_path": "anycodec train --out DIR --resume continues a run; weights of "
        "others come in by anycodec import",
        "train_args.wandb_image_interval": "pictures are in report.html: anycodec evaluate RUN",
        "model_args.output_channels": _DERIVED,
        "model_args.nb_levels": "as many levels as codec.rates",
        "model_args.ddconfig.in_channels": _DERIVED,
        "model_args.ddconfig.out_ch": _DERIVED,
        "model_args.ddconfig.double_z": "said by the quantizer: kl has mean and variance, others not",
        "model_args.lossconfig": "the losses come from train_args; lossconfig never reached them",
    }
)
ALL_RENAMED: Mapping[str, str] = MappingProxyType(
    {
        key: target
        for table in (RENAMED, *CODEC_RENAMED.values(), *QUANTIZER_RENAMED.values())
        for key, target in table.items()
    }
)
KNOWN = frozenset({*ALL_RENAMED, *COMPOSED, *WITHOUT})
"""Every key of a param.json, dotted."""
